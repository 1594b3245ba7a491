// Package collector lists the users of a Factory organization and exposes the numbers
// to Prometheus: when to list and to read (listings.go, readings.go), and how it is exposed
// (metrics.go, usage_metrics.go, requests.go). What is counted is in package census. A
// [Collector] ties them together.
package collector

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// Lister lists all users of an organization, page by page; after an error there is
// nothing more. [factoryapi.Client] is one.
type Lister interface {
	Pages(context.Context) iter.Seq2[[]factoryapi.User, error]
}

// Config says what to count and when.
type Config struct {
	Census   census.Config
	Schedule Schedule
	// Analytics are read once a day, if they are set.
	Analytics usage.Source
	// SeatLimit is the number of seats bought; zero if it is not known.
	SeatLimit int
	Logger    *slog.Logger
}

// Collector exposes the newest listing of an organization. It is safe for
// concurrent use.
type Collector struct {
	cfg      Config
	lister   Lister
	metrics  *metrics
	listings *listings

	// These are nil without analytics.
	usageMetrics *usageMetrics
	readings     *readings

	// Only the listing under way uses these, and there is never a second one.
	roster        *census.Roster // of the newest complete listing without duplicates, nil before
	listingOutage outage
	listed        bool                       // at least once
	unmatched     atomic.Pointer[usage.View] // of a ledger none of whose users is a member
	// Only the reading under way uses these.
	ledger        *usage.Ledger
	ledgerDay     factoryapi.Day // on which it was made
	readingOutage outage
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a collector for the members that lister lists.
func New(lister Lister, cfg Config) *Collector {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	c := &Collector{cfg: cfg, lister: lister, metrics: newMetrics()}
	c.listingOutage = outage{what: "Listing", cannot: "Cannot list the members", again: "Listing the members works again"}
	c.readingOutage = outage{what: "Reading of the analytics", cannot: "Cannot read the analytics", again: "Reading the analytics works again"}
	c.listings = &listings{cfg.Schedule, newTask(cfg.Schedule.ListingTimeout, c.list)}
	if cfg.Analytics != nil {
		c.usageMetrics = newUsageMetrics()
		c.readings = newReadings(c.read)
	}
	return c
}

// Close cancels a listing and a reading under way and waits for their ends. Earlier
// numbers can still be collected.
func (c *Collector) Close() {
	c.listings.cancel() // both end at once
	if c.readings != nil {
		c.readings.close()
	}
	c.listings.close()
}

// Scrape waits until there is a listing that is new enough, or ctx ends, and
// returns the series to show then. It starts a listing or joins the one under way,
// unless the newest listing is young enough. The listing goes on when ctx ends.
//
// With analytics, it also starts a reading of them if one is due, and does not wait for
// it.
func (c *Collector) Scrape(ctx context.Context) prometheus.Collector {
	if c.readings != nil {
		c.readings.join(readingIsDue)
	}
	listing := c.listings.wait(ctx)
	return scrape{c, listing, c.readings.shown()}
}

func (c *Collector) newLedger() *usage.Ledger {
	cfg := usage.Config{Logger: c.cfg.Logger, Members: c.members}
	for _, window := range c.cfg.Census.Windows {
		cfg.Windows = append(cfg.Windows, window.Days())
	}
	return usage.NewLedger(cfg)
}

// members returns how many members the newest complete listing has. It waits for a first
// listing.
func (c *Collector) members(ctx context.Context) int {
	past, _, _ := c.listings.state(nil)
	if call := c.listings.underWay(); past.newest == nil && call != nil {
		select {
		case <-call.done:
		case <-ctx.Done():
		}
		past, _, _ = c.listings.state(nil)
	}
	if past.newest == nil {
		return 0
	}
	return past.newest.Users
}

// LastListing returns when the listing that ended last did, zero if none has. It failed
// for a reason, in one word, or it found so many users. LastListing starts no listing.
func (c *Collector) LastListing() (ended time.Time, failure string, users int) {
	past, _, _ := c.listings.state(nil)
	switch {
	case past.err != nil:
		failure = reasonOf(past.err)
	case past.newest != nil:
		users = past.newest.Users
	}
	return past.ended, failure, users
}

func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	c.metrics.describe(ch)
	if c.readings != nil {
		c.usageMetrics.describe(ch)
	}
}

// Collect waits as long as a listing takes: use Scrape where there is a deadline.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.Scrape(context.Background()).Collect(ch)
}

// scrape is the answer to one scrape.
type scrape struct {
	*Collector
	listing listingState
	usage   usageState
}

func (s scrape) Collect(ch chan<- prometheus.Metric) {
	s.metrics.collect(ch, s.listing, &s.cfg)
	if s.readings != nil {
		s.usageMetrics.collect(ch, s.usage, s.listing.snapshot, s.cfg.Census.Windows)
	}
}

func (c *Collector) list(ctx context.Context) (*snapshot, error) {
	start := time.Now()
	known := c.readings.shown()
	view := known.view
	counting := census.New(c.cfg.Census, start, view, c.roster)
	pages := 0
	for page, err := range c.lister.Pages(ctx) {
		if err != nil {
			c.listingOutage.log(c.cfg.Logger, err, time.Since(start))
			return nil, err
		}
		pages++
		counting.Add(page...)
	}
	end := time.Now()
	counts := counting.Counts()
	// An id appears twice if the list shifted while it was read. Such a listing may lack
	// other members, so it does not tell who joined or left.
	if counts.Duplicates == 0 {
		if c.roster != nil {
			joined, left := counting.Since()
			c.metrics.joined.Add(float64(joined))
			c.metrics.left.Add(float64(left))
		}
		c.roster = counting.Roster()
	}
	s := &snapshot{Counts: counts, usage: view, pages: pages, ended: end, duration: end.Sub(start)}
	s.unmatched = view != nil && view.Users > 0 && s.Users > 0 && s.InUsage == 0
	switch before := c.unmatched.Load(); {
	case s.InUsage > 0 && !view.SameLedger(before):
		c.unmatched.Store(nil)
	case s.unmatched && known.whole: // else the days may be those on which only a service account worked
		c.unmatched.Store(view)
		if before == nil {
			c.cfg.Logger.Warn("The ids of the analytics do not match those of the members, so use and credits of members are not shown", "users", view.Users, "members", s.Users)
		}
	}
	s.unmatched = s.unmatched || c.unmatched.Load() != nil
	if !c.listed {
		c.listed = true
		for attribute, other := range s.OtherCase {
			c.cfg.Logger.Warn("No member has this attribute of --collector.group-by, but members have one in other letters", "attribute", attribute, "other", other)
		}
	}
	c.listingOutage.log(c.cfg.Logger, nil, s.duration, "members", s.Users, "pages", s.pages)
	return s, nil
}

func (c *Collector) read(ctx context.Context, now time.Time, publish func(*usage.View)) error {
	today := factoryapi.DayOf(now)
	if c.ledger == nil || c.unmatched.Load() != nil && c.ledgerDay < today { // the ids may be others by now, and must not be mixed with these
		c.ledger, c.ledgerDay = c.newLedger(), today
	}
	err := c.ledger.Read(ctx, c.cfg.Analytics, now, publish)
	c.readingOutage.log(c.cfg.Logger, err, time.Since(now))
	return err
}
