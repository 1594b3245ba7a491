package collector

import (
	"errors"
	"time"

	"factory_exporter/factoryapi"
)

// outage remembers the failures since something worked last. The zero value has none.
type outage struct {
	since   time.Time
	reasons map[string]bool
}

// add adds a failure and reports whether its reason is new to the outage.
func (o *outage) add(err error) (isNew bool) {
	if o.reasons == nil {
		o.since, o.reasons = time.Now(), map[string]bool{}
	}
	reason := reasonOf(err)
	isNew = !o.reasons[reason]
	o.reasons[reason] = true
	return isNew
}

// end ends the outage. It is not ok if there was none.
func (o *outage) end() (lasted time.Duration, ok bool) {
	if o.reasons == nil {
		return 0, false
	}
	lasted = age(o.since, time.Now())
	*o = outage{}
	return lasted, true
}

// reasonOf returns a failure in one word: the reason of an API's error, or "other".
func reasonOf(err error) string {
	if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
		return failure.Reason()
	}
	return "other"
}
