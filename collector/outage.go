package collector

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"factory_exporter/factoryapi"
)

// outage remembers the failures since something worked last.
type outage struct {
	what, cannot string // for the log
	since        time.Time
	reasons      map[string]bool // nil if it works
}

// failed logs a failure: as an error if its reason is new to the outage.
func (o *outage) failed(logger *slog.Logger, err error, duration time.Duration) {
	if errors.Is(err, context.Canceled) {
		logger.Debug(o.what+" canceled", "duration", duration) //nolint:sloglint // of two
		return
	}
	logger.Debug(o.what+" failed", "duration", duration, "err", err) //nolint:sloglint // of two
	if o.reasons == nil {
		o.since, o.reasons = time.Now(), map[string]bool{}
	}
	if reason := reasonOf(err); !o.reasons[reason] {
		o.reasons[reason] = true
		logger.Error(o.cannot+"; this reason is logged once", "err", err) //nolint:sloglint // of two
	}
}

// end ends the outage. It is not ok if there was none.
func (o *outage) end() (lasted time.Duration, ok bool) {
	if o.reasons == nil {
		return 0, false
	}
	lasted = age(o.since, time.Now())
	o.reasons = nil
	return lasted, true
}

// reasonOf returns a failure in one word: the reason of an API's error, or "other".
func reasonOf(err error) string {
	if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
		return failure.Reason()
	}
	return "other"
}
