package collector

import (
	"context"
	"sync"
	"time"
)

// Schedule says when to list, and for how long a listing may be shown.
type Schedule struct {
	// ListingTimeout bounds one listing. Zero means no bound.
	ListingTimeout time.Duration
	// CacheTTL is the age below which a complete listing is used again.
	CacheTTL time.Duration
	// MaxStale is how old a complete listing may be and still be shown when a newer
	// one failed or is not ready. If MaxStale and CacheTTL are zero, a scrape shows
	// only a listing that it waited for.
	MaxStale time.Duration
}

// snapshot is a complete listing.
type snapshot struct {
	Counts
	pages    int
	ended    time.Time
	duration time.Duration
}

// listings decides when to list. A listing starts when somebody waits for one, and it
// goes on when all who waited have gone. There is never more than one under way.
type listings struct {
	schedule Schedule
	list     func(context.Context) (*snapshot, error)
	ctx      context.Context // of all listings; close cancels it
	cancel   context.CancelFunc

	mu     sync.Mutex
	call   *call     // the listing under way, if any
	newest *snapshot // the newest complete listing
	up     bool      // whether the listing that ended last was complete
}

// call is a listing under way.
type call struct {
	done     chan struct{}
	complete bool // guarded by listings.mu
}

func newListings(schedule Schedule, list func(context.Context) (*snapshot, error)) *listings {
	l := &listings{schedule: schedule, list: list}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// state is what a scrape may show.
type state struct {
	snapshot   *snapshot // nil if none is fresh enough
	up         bool
	inProgress bool
}

// wait returns the state once a listing that is new enough has ended, or ctx has.
func (l *listings) wait(ctx context.Context) state {
	now := time.Now()
	call := l.join(now)
	if call != nil {
		select {
		case <-call.done:
		case <-ctx.Done():
		}
		now = time.Now()
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	s := state{up: l.up, inProgress: l.call != nil}
	limit := max(l.schedule.MaxStale, l.schedule.CacheTTL)
	if call != nil && call.complete || l.newest != nil && limit > 0 && age(l.newest.ended, now) <= limit {
		s.snapshot = l.newest
	}
	return s
}

// join returns the listing to wait for, and starts it if none is under way. It returns
// nil if the newest listing is young enough.
func (l *listings) join(now time.Time) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest != nil && age(l.newest.ended, now) < l.schedule.CacheTTL {
		return nil
	}
	if l.call == nil && l.ctx.Err() == nil {
		l.call = &call{done: make(chan struct{})}
		go l.run(l.call)
	}
	return l.call
}

// run makes one listing.
func (l *listings) run(c *call) {
	defer close(c.done)
	ctx := l.ctx
	if l.schedule.ListingTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.schedule.ListingTimeout)
		defer cancel()
	}
	snapshot, err := l.list(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.call = nil
	switch {
	case err == nil:
		c.complete = true
		l.newest = snapshot
		l.up = true
	case l.ctx.Err() == nil: // a canceled listing says nothing about the API
		l.up = false
	}
}

// age returns the time from then to now. The monotonic clock stops while a machine is
// suspended, and the wall clock may be set back, so the larger difference counts.
func age(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0))) // Round strips the monotonic clock
}

// close cancels the listing under way, if any, and waits for its end. No other
// listing will start.
func (l *listings) close() {
	l.cancel()
	l.mu.Lock()
	call := l.call
	l.mu.Unlock()
	if call != nil {
		<-call.done
	}
}
