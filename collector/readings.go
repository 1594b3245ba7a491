package collector

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// readingPause is the least time between the end of a reading that has not brought the
// newest day and the start of the next.
const readingPause = time.Hour

// readings decides when to read the analytics: when there is a scrape, and the day
// before it is not known yet. Nobody waits for a reading.
type readings struct {
	*task[reading]
	// view is what is known, by a reading that is still under way as well. It is nil
	// before the first day is.
	view atomic.Pointer[usage.View]
}

// reading is a reading that succeeded.
type reading struct{ due, newest factoryapi.Day } // the day that it looked for, and the day that is known

func newReadings(read func(ctx context.Context, now time.Time, publish func(*usage.View)) error) *readings {
	r := &readings{}
	r.task = newTask(usage.ReadingTimeout, func(ctx context.Context) (*reading, error) {
		now := time.Now()
		if err := read(ctx, now, r.view.Store); err != nil {
			return nil, err
		}
		return &reading{dayBefore(now), r.view.Load().Day}, nil
	})
	return r
}

// usageState is what a scrape may show of the readings.
type usageState struct {
	view  *usage.View // nil if none is new enough
	up    bool
	whole bool // the view has all days: the last reading succeeded, and none is under way
	today factoryapi.Day
}

// shown returns what may be shown now: nothing, if there is no r.
func (r *readings) shown() usageState {
	if r == nil {
		return usageState{}
	}
	past, inProgress, _ := r.state(nil)
	s := usageState{up: past.up(), whole: past.up() && !inProgress, today: factoryapi.DayOf(time.Now())}
	if view := r.view.Load(); s.mayShow(view) {
		s.view = view
	}
	return s
}

// mayShow reports whether a view is new enough. There may be none.
func (s usageState) mayShow(view *usage.View) bool {
	return view != nil && s.today-view.Day <= usage.MaxDaysPast
}

func readingIsDue(past history[reading]) bool {
	now := time.Now()
	switch {
	case past.ended.IsZero():
		return true
	case past.err != nil:
		pause := readingPause
		if failure, ok := errors.AsType[*factoryapi.Error](past.err); ok {
			pause = max(pause, failure.RetryAfter) // which the client bounds
		}
		return age(past.ended, now) >= pause
	case past.newest.newest >= dayBefore(now):
		return false
	case past.newest.newest >= past.newest.due:
		return true // a day has ended since
	default: // the day before is late, or has no row
		return age(past.ended, now) >= readingPause
	}
}

func dayBefore(t time.Time) factoryapi.Day { return factoryapi.DayOf(t) - 1 }
