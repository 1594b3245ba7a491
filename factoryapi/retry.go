package factoryapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// ask asks for u until there is a 200, the failure is final, or there is no time or retry
// left. Errors are those of try.
func (c *chain) ask(ctx context.Context, u *url.URL) (*answer, error) {
	delays := backoff.NewExponentialBackOff()
	for retries := 0; ; retries++ {
		answer, err := c.try(ctx, u)
		failure, ok := errors.AsType[*Error](err)
		if !ok || !failure.Temporary() {
			return answer, err
		}
		// The failure may belong to the connection, such as one to a balancer that is
		// stuck with a dead backend.
		c.client.CloseIdleConnections()
		if retries == c.client.cfg.MaxRetries {
			return nil, err
		}
		delay := max(delays.NextBackOff(), failure.RetryAfter)
		c.client.cfg.Logger.Debug("Request failed", "endpoint", c.endpoint, "err", err, "retry_in", delay)
		if !sleep(ctx, delay) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Canceled
			}
			return nil, failure
		}
	}
}

// sleep waits for d and reports whether it did. It does not begin a wait that would
// outlast the context's deadline.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// maxRetryAfter bounds what the API can ask for.
const maxRetryAfter = 24 * time.Hour

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): an HTTP date,
// or seconds, of which some servers send fractions. The date counts from the answer's
// own Date, since the clock of the API may differ from ours. It returns zero for a date
// in the past and for what it cannot read.
func parseRetryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if strings.Trim(value, "0123456789.") == "" { // else it has a sign or an exponent, or is a date
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0
		}
		return time.Duration(math.Ceil(min(seconds, maxRetryAfter.Seconds()))) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(0, until.Sub(now)), maxRetryAfter)
}
