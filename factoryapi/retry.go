package factoryapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// page asks for the page at cursor until it has it, the failure is final, or
// there is no time or try left.
func (l *listing) page(ctx context.Context, cursor string) (Page, error) {
	l.used[cursor] = true
	delays := backoff.NewExponentialBackOff()
	for try := 0; ; try++ {
		page, err := l.get(ctx, cursor)
		failure, ok := errors.AsType[*Error](err)
		if !ok || !failure.Temporary() || try == l.client.maxRetries {
			return page, err
		}
		if !sleep(ctx, max(delays.NextBackOff(), failure.RetryAfter)) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return Page{}, context.Canceled
			}
			return Page{}, failure
		}
	}
}

// sleep waits for d and reports whether it did. It does not begin a wait that
// the context's deadline would cut short.
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

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds
// or an HTTP date. What it cannot read, and what lies in the past, is zero.
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
