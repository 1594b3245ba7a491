package collector

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"factory_exporter/factoryapi"
)

// outage logs how runs of something end, and remembers the failures since it worked last.
type outage struct {
	what, cannot, again string // for the log
	since               time.Time
	reasons             map[string]bool // nil if it works
}

// log logs how a run has ended: a failure as an error if its reason is new to the outage.
// found is what a run that succeeded has found.
func (o *outage) log(logger *slog.Logger, err error, duration time.Duration, found ...any) {
	switch {
	case err == nil:
		logger.Debug(o.what+" complete", append(found, "duration", duration)...) //nolint:sloglint // of two
		if o.reasons != nil {
			logger.Info(o.again, append(found, "failed_for", age(o.since, time.Now()).Round(time.Second))...) //nolint:sloglint // of two
			o.reasons = nil
		}
		return
	case errors.Is(err, context.Canceled):
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

// reasonOf returns a failure in one word: the reason of an API's error, or "other".
func reasonOf(err error) string {
	if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
		return failure.Reason()
	}
	return "other"
}
