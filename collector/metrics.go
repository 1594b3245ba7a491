package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/factoryapi"
)

// metrics are the series about listings and what they counted.
type metrics struct {
	up                *prometheus.Desc
	seatLimit         *prometheus.Desc
	users             *prometheus.Desc
	neverSignedIn     *prometheus.Desc
	active, idle, new *prometheus.Desc
	lastSignInAge     *prometheus.Desc

	byAttribute, activeByAttribute, idleByAttribute *prometheus.Desc
	userLastSignIn, userCreated                     *prometheus.Desc

	listingTimestamp         *prometheus.Desc
	listingDuration          *prometheus.Desc
	listingPages             *prometheus.Desc
	listingDuplicateUsers    *prometheus.Desc
	listingInProgress        *prometheus.Desc
	listingInvalidTimestamps *prometheus.Desc

	joined, left prometheus.Counter

	descs []*prometheus.Desc // all of the above
}

func newMetrics() *metrics {
	m := &metrics{}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc(name, help, labels, nil)
		m.descs = append(m.descs, d)
		return d
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.descs = append(m.descs, c.Desc())
		return c
	}

	m.up = desc("factory_up",
		"1 if the listing of members that ended last succeeded, 0 if it failed or none has ended yet.")
	m.seatLimit = desc("factory_seat_limit",
		"Seats bought, as configured; the API does not tell. Absent if not configured.")

	m.users = desc("factory_users",
		"Members of the organization: users of the listing, each id once.")
	m.neverSignedIn = desc("factory_users_never_signed_in",
		"Members who never signed in: without lastSignInAt.")
	m.active = desc("factory_users_active",
		"Members whose lastSignInAt is within the window.", "window")
	m.idle = desc("factory_users_idle",
		"Members whose createdAt is before the window and whose lastSignInAt is, too, or is absent: seats to reclaim.", "window")
	m.new = desc("factory_users_new",
		"Members whose createdAt is within the window.", "window")
	m.lastSignInAge = desc("factory_users_last_sign_in_age_seconds",
		"Time since lastSignInAt, over members who signed in. A snapshot of each listing that goes up and down: do not use rate() or increase() on it.")
	m.joined = counter("factory_users_joined_total",
		"Members whose id appeared between two complete listings of this process.")
	m.left = counter("factory_users_left_total",
		"Members whose id disappeared between two complete listings of this process.")

	m.byAttribute = desc("factory_users_by_attribute",
		"Members by value of an attribute: email_domain (of email, in lower case) or metadata.KEY (of metadata). Values beyond the limit are summed as (other); (none) is no value.", "attribute", "value")
	m.activeByAttribute = desc("factory_users_active_by_attribute",
		"Members whose lastSignInAt is within the window, by value of an attribute.", "attribute", "value", "window")
	m.idleByAttribute = desc("factory_users_idle_by_attribute",
		"Members whose createdAt is before the window and whose lastSignInAt is, too, or is absent, by value of an attribute.", "attribute", "value", "window")

	m.userLastSignIn = desc("factory_user_last_sign_in_timestamp_seconds",
		"The lastSignInAt of a member. Absent for one who never signed in.", "id")
	m.userCreated = desc("factory_user_created_timestamp_seconds",
		"The createdAt of a member.", "id")

	m.listingTimestamp = desc("factory_listing_timestamp_seconds",
		"When the listing behind these user metrics ended.")
	m.listingDuration = desc("factory_listing_duration_seconds",
		"How long the listing behind these user metrics took.")
	m.listingPages = desc("factory_listing_pages",
		"Pages in the listing behind these user metrics.")
	m.listingDuplicateUsers = desc("factory_listing_duplicate_users",
		"Entries of that listing that were dropped because their id had been met before in it.")
	m.listingInProgress = desc("factory_listing_in_progress",
		"1 if a listing was still under way when this scrape was answered.")
	m.listingInvalidTimestamps = desc("factory_listing_invalid_timestamps",
		"Timestamps of that listing that could not be read, by field. Their members count in nothing that needs the field.", "field")
	return m
}

func (m *metrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// collect sends what the state allows to show.
func (m *metrics) collect(ch chan<- prometheus.Metric, s state, cfg *Config) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.up, boolean(s.up))
	gauge(m.listingInProgress, boolean(s.inProgress))
	m.joined.Collect(ch)
	m.left.Collect(ch)
	if cfg.SeatLimit > 0 {
		gauge(m.seatLimit, float64(cfg.SeatLimit))
	}
	l := s.snapshot
	if l == nil {
		return
	}

	gauge(m.users, float64(l.Users))
	gauge(m.neverSignedIn, float64(l.NeverSignedIn))
	for i, window := range cfg.Census.Windows {
		gauge(m.active, float64(l.Windows[i].Active), window.Label)
		gauge(m.idle, float64(l.Windows[i].Idle), window.Label)
		gauge(m.new, float64(l.Windows[i].New), window.Label)
	}
	ages := l.SignInAges
	ch <- prometheus.MustNewConstHistogram(m.lastSignInAge, ages.Count, ages.Seconds, ages.Buckets)
	for _, g := range l.Groups {
		gauge(m.byAttribute, float64(g.Users), g.Attribute, g.Value)
		for i, window := range cfg.Census.Windows {
			gauge(m.activeByAttribute, float64(g.Windows[i].Active), g.Attribute, g.Value, window.Label)
			gauge(m.idleByAttribute, float64(g.Windows[i].Idle), g.Attribute, g.Value, window.Label)
		}
	}
	for _, member := range l.Members {
		if member.LastSignInAt.State == factoryapi.Valid {
			gauge(m.userLastSignIn, seconds(member.LastSignInAt.Time), member.ID)
		}
		if member.CreatedAt.State == factoryapi.Valid {
			gauge(m.userCreated, seconds(member.CreatedAt.Time), member.ID)
		}
	}

	gauge(m.listingTimestamp, seconds(l.ended))
	gauge(m.listingDuration, l.duration.Seconds())
	gauge(m.listingPages, float64(l.pages))
	gauge(m.listingDuplicateUsers, float64(l.Duplicates))
	gauge(m.listingInvalidTimestamps, float64(l.Invalid.CreatedAt), "createdAt")
	gauge(m.listingInvalidTimestamps, float64(l.Invalid.LastSignInAt), "lastSignInAt")
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is t as Prometheus has it: seconds since 1970 began. Not by UnixNano,
// which ends with the year 2262.
func seconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}
