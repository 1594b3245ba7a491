package collector

import (
	"strings"
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

	descs // all of the above
}

func newMetrics() *metrics {
	m := &metrics{}
	desc := m.add
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.descs = append(m.descs, c.Desc())
		return c
	}

	m.up = desc("factory_up",
		"1 if the last finished listing of members succeeded, 0 if it failed or none has finished.")
	m.seatLimit = desc("factory_seat_limit",
		"Seats bought, as set with --factory.seat-limit.")

	m.users = desc("factory_users",
		"Members of the organization. Each id counts once.")
	m.neverSignedIn = desc("factory_users_never_signed_in",
		"Members who never signed in: they have no lastSignInAt.")
	m.active = desc("factory_users_active",
		"Members who signed in within the window, by lastSignInAt.", "window")
	m.idle = desc("factory_users_idle",
		"Members whose account is older than the window and who did not sign in within it, or ever.", "window")
	m.new = desc("factory_users_new",
		"Members whose account was created within the window, by createdAt.", "window")
	m.lastSignInAge = desc("factory_users_last_sign_in_age_seconds",
		"Time since the last sign-in of members who signed in. A snapshot: do not use rate() or increase().")
	m.joined = counter("factory_users_joined_total",
		"Members who appeared between two complete listings of this process. Listings with duplicates do not count.")
	m.left = counter("factory_users_left_total",
		"Members who disappeared between two complete listings of this process. Listings with duplicates do not count.")

	m.byAttribute = desc("factory_users_by_attribute",
		"Members by value of an attribute: email_domain or metadata.KEY. (none): without a value. (other): the values beyond --collector.group-limit.", "attribute", "value")
	m.activeByAttribute = desc("factory_users_active_by_attribute",
		"Members who signed in within the window, by value of an attribute.", "attribute", "value", "window")
	m.idleByAttribute = desc("factory_users_idle_by_attribute",
		"Members whose account is older than the window and who did not sign in within it, by value of an attribute.", "attribute", "value", "window")

	m.userLastSignIn = desc("factory_user_last_sign_in_timestamp_seconds",
		"When a member last signed in, by lastSignInAt. Absent if never.", "id")
	m.userCreated = desc("factory_user_created_timestamp_seconds",
		"When the account of a member was created, by createdAt.", "id")

	m.listingTimestamp = desc("factory_listing_timestamp_seconds",
		"When the newest complete listing ended.")
	m.listingDuration = desc("factory_listing_duration_seconds",
		"How long the newest complete listing took.")
	m.listingPages = desc("factory_listing_pages",
		"Pages of the newest complete listing.")
	m.listingDuplicateUsers = desc("factory_listing_duplicate_users",
		"Entries dropped from the newest complete listing because their id had already appeared in it.")
	m.listingInProgress = desc("factory_listing_in_progress",
		"1 if a listing was under way when this scrape was answered.")
	m.listingInvalidTimestamps = desc("factory_listing_invalid_timestamps",
		"Unreadable timestamps in the newest complete listing, by field. Their members count in nothing that needs the field.", "field")
	return m
}

// descs are the descriptors of a set of series.
type descs []*prometheus.Desc

func (d *descs) add(name, help string, labels ...string) *prometheus.Desc {
	var unit []prometheus.DescOpt
	if strings.HasSuffix(name, "_seconds") {
		unit = append(unit, prometheus.WithUnit("seconds"))
	}
	desc := prometheus.V2.NewDesc(name, help, prometheus.UnconstrainedLabels(labels), nil, unit...)
	*d = append(*d, desc)
	return desc
}

func (d descs) describe(ch chan<- *prometheus.Desc) {
	for _, desc := range d {
		ch <- desc
	}
}

// gaugesTo returns a function that sends gauges to ch.
func gaugesTo(ch chan<- prometheus.Metric) func(d *prometheus.Desc, value float64, labels ...string) {
	return func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
}

// collect sends the series that the state allows to show.
func (m *metrics) collect(ch chan<- prometheus.Metric, s listingState, cfg *Config) {
	gauge := gaugesTo(ch)
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
	ch <- prometheus.MustNewConstHistogram(m.lastSignInAge, ages.Count, ages.Sum, ages.Buckets)
	for _, g := range l.Groups {
		gauge(m.byAttribute, float64(g.Users), g.Attribute, g.Value)
		for i, window := range cfg.Census.Windows {
			gauge(m.activeByAttribute, float64(g.Windows[i].Active), g.Attribute, g.Value, window.Label)
			gauge(m.idleByAttribute, float64(g.Windows[i].Idle), g.Attribute, g.Value, window.Label)
		}
	}
	for _, user := range l.PerUser {
		if user.LastSignInAt.State == factoryapi.Valid {
			gauge(m.userLastSignIn, seconds(user.LastSignInAt.Time), user.ID)
		}
		if user.CreatedAt.State == factoryapi.Valid {
			gauge(m.userCreated, seconds(user.CreatedAt.Time), user.ID)
		}
	}

	gauge(m.listingTimestamp, seconds(l.ended))
	gauge(m.listingDuration, l.duration.Seconds())
	gauge(m.listingPages, float64(l.pages))
	gauge(m.listingDuplicateUsers, float64(l.Duplicates))
	gauge(m.listingInvalidTimestamps, float64(l.InvalidCreatedAt), "createdAt")
	gauge(m.listingInvalidTimestamps, float64(l.InvalidLastSignInAt), "lastSignInAt")
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds returns t in seconds since 1970 began, the unit of Prometheus. UnixNano
// would end with the year 2262.
func seconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}
