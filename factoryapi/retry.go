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

// get asks for u until decode accepts an answer, the failure is final, or there is no
// time or retry left. Errors are those of try.
func (c *chain) get(ctx context.Context, u *url.URL, decode func(body []byte) error) error {
	delays := backoff.NewExponentialBackOff()
	for retries := 0; ; retries++ {
		err := c.try(ctx, u, decode)
		failure, ok := errors.AsType[*Error](err)
		if !ok || !failure.Temporary() || retries == c.client.cfg.MaxRetries {
			return err
		}
		if !sleep(ctx, max(delays.NextBackOff(), failure.RetryAfter)) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Canceled
			}
			return failure
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

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or an
// HTTP date. It returns zero for a date in the past and for what it cannot read.
func parseRetryAfter(value string) time.Duration {
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, _ := strconv.ParseUint(value, 10, 64) // the largest number, where there are too many digits
		return time.Duration(min(seconds, math.MaxInt64/uint64(time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}
