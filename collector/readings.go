package collector

import (
	"context"
	"errors"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// readingTimeout bounds one reading. With 20,000 members and a row for each day, a
// window of 90 days alone takes 18,000 requests.
const readingTimeout = 6 * time.Hour

const (
	// readingPause is the least time between the end of a reading that has not brought
	// the newest day and the start of the next.
	readingPause = time.Hour
	// maxDaysPast is how many days ago the day of a reading may be and still be shown.
	maxDaysPast = 3
)

// readings decides when to read the analytics: when there is a scrape, and the day
// before it is not known yet. Nobody waits for a reading.
type readings struct{ *task[usage.View] }

func newReadings(read func(ctx context.Context, newest *usage.View) (*usage.View, error)) *readings {
	return &readings{newTask(readingTimeout, read)}
}

// start starts a reading if one is due.
func (r *readings) start() {
	r.join(func(past history[usage.View]) bool { return readingIsDue(past, time.Now()) })
}

// usageState is what a scrape may show of the readings.
type usageState struct {
	usage *usage.View // nil if none is new enough
	up    bool
	today factoryapi.Day
}

// shown returns what may be shown now.
func (r *readings) shown() usageState {
	past, _, _ := r.state(nil)
	s := usageState{up: past.up(), today: factoryapi.DayOf(time.Now())}
	if s.mayShow(past.newest) {
		s.usage = past.newest
	}
	return s
}

// mayShow reports whether u is new enough. There may be no u.
func (s usageState) mayShow(u *usage.View) bool { return u != nil && s.today-u.Day() <= maxDaysPast }

func readingIsDue(past history[usage.View], now time.Time) bool {
	switch {
	case past.ended.IsZero():
		return true
	case past.err != nil:
		pause := readingPause
		if failure, ok := errors.AsType[*factoryapi.Error](past.err); ok {
			pause = max(pause, failure.RetryAfter)
		}
		return age(past.ended, now) >= pause
	case past.newest.Day() >= dayBefore(now):
		return false
	case past.newest.Day() == dayBefore(past.ended):
		return true // a day has ended since
	default: // the day before is late, or has no row
		return age(past.ended, now) >= readingPause
	}
}

// dayBefore returns the day before the one that t is in.
func dayBefore(t time.Time) factoryapi.Day { return factoryapi.DayOf(t) - 1 }
