package collector

import (
	"context"
	"sync"
	"time"
)

// Schedule says when to list, and for how long a listing is of use.
type Schedule struct {
	// ListingTimeout bounds one listing; nothing does if it is zero.
	ListingTimeout time.Duration
	// CacheTTL: a complete listing younger than this is used as it is.
	CacheTTL time.Duration
	// MaxStale is how old a complete listing may be and still be shown when a
	// newer one failed or is not ready. With zero, and no CacheTTL, a scrape shows
	// only what it waited for itself.
	MaxStale time.Duration
}

// snapshot is a complete listing.
type snapshot struct {
	Counts
	pages    int
	ended    time.Time
	duration time.Duration
}

// listings decides when to list. Nothing in it runs by itself: a listing starts
// when somebody waits for one, there is never more than one under way, and it goes
// on when all who waited have gone.
type listings struct {
	schedule Schedule
	list     func(context.Context) (*snapshot, error)
	lifetime context.Context // ends with close
	end      context.CancelFunc

	mu     sync.Mutex
	flight *flight   // the listing under way, if any
	newest *snapshot // the newest complete listing
	up     bool      // whether the listing that ended last was complete
}

// flight is a listing under way.
type flight struct {
	ended    chan struct{}
	complete bool // guarded by listings.mu
}

func newListings(schedule Schedule, list func(context.Context) (*snapshot, error)) *listings {
	l := &listings{schedule: schedule, list: list}
	l.lifetime, l.end = context.WithCancel(context.Background())
	return l
}

// state is what a scrape may show.
type state struct {
	snapshot   *snapshot // nil: nothing that is fresh enough
	up         bool
	inProgress bool
}

// wait returns the state once a listing that is new enough has ended, or ctx has.
func (l *listings) wait(ctx context.Context) state {
	now := time.Now()
	flight := l.join(now)
	if flight != nil {
		select {
		case <-flight.ended:
		case <-ctx.Done():
		}
		now = time.Now()
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	s := state{up: l.up, inProgress: l.flight != nil}
	limit := max(l.schedule.MaxStale, l.schedule.CacheTTL)
	if flight != nil && flight.complete || l.newest != nil && limit > 0 && l.age(now) <= limit {
		s.snapshot = l.newest
	}
	return s
}

// join returns the listing under way, which it may have to start, or nil if there
// is none to wait for.
func (l *listings) join(now time.Time) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest != nil && l.age(now) < l.schedule.CacheTTL {
		return nil
	}
	if l.flight == nil && l.lifetime.Err() == nil {
		l.flight = &flight{ended: make(chan struct{})}
		go l.fly(l.flight)
	}
	return l.flight
}

// fly makes one listing.
func (l *listings) fly(flight *flight) {
	defer close(flight.ended)
	ctx := l.lifetime
	if l.schedule.ListingTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.schedule.ListingTimeout)
		defer cancel()
	}
	snapshot, err := l.list(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.flight = nil
	switch {
	case err == nil:
		flight.complete = true
		l.newest = snapshot
		l.up = true
	case l.lifetime.Err() == nil: // else it was cancelled, which says nothing of the API
		l.up = false
	}
}

// age is that of the newest complete listing.
func (l *listings) age(now time.Time) time.Duration { return now.Sub(l.newest.ended) }

// close cancels the listing under way, if any, and waits for its end. No other
// will start.
func (l *listings) close() {
	l.end()
	l.mu.Lock()
	flight := l.flight
	l.mu.Unlock()
	if flight != nil {
		<-flight.ended
	}
}
