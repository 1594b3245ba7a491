package collector

import (
	"context"
	"time"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
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
	census.Counts
	usage    *usage.View // that it was counted with, nil if there was none
	pages    int
	ended    time.Time
	duration time.Duration
	// unmatched says that not one of the users of the analytics is a member, or was when
	// their days began to be read: their ids are written differently then, and nothing can
	// be told of members.
	unmatched bool
}

// listings decides when to list: when somebody waits for a listing.
type listings struct {
	schedule Schedule
	*task[snapshot]
}

// listingState is what a scrape may show of the listings.
type listingState struct {
	snapshot   *snapshot // nil if none is fresh enough
	up         bool
	inProgress bool
}

// wait returns the state once a listing that is new enough has ended, or ctx has.
func (l *listings) wait(ctx context.Context) listingState {
	call := l.join(func(past history[snapshot]) bool {
		return past.newest == nil || age(past.newest.ended, time.Now()) >= l.schedule.CacheTTL
	})
	if call != nil {
		select {
		case <-call.done:
		case <-ctx.Done():
		}
	}

	past, inProgress, complete := l.state(call)
	s := listingState{up: past.up(), inProgress: inProgress}
	limit := max(l.schedule.MaxStale, l.schedule.CacheTTL)
	if complete || past.newest != nil && limit > 0 && age(past.newest.ended, time.Now()) <= limit {
		s.snapshot = past.newest
	}
	return s
}
