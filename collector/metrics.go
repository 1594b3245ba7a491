package collector

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/factoryapi"
)

// metrics are the series about listings and what they counted.
type metrics struct {
	series
	joined, left prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		series: series{},
		joined: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "factory_users_joined_total",
			Help: "Members who appeared between two complete listings of this process.",
		}),
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "factory_users_left_total",
			Help: "Members who disappeared between two complete listings of this process.",
		}),
	}
	m.add("factory_up", "1 if the last finished listing of members succeeded, 0 if it failed or none has finished.")
	m.add("factory_seat_limit", "Seats bought, as set with --factory.seat-limit.")
	m.add("factory_users", "Members of the organization. Each id counts once.")
	m.add("factory_users_never_signed_in", "Members without lastSignInAt: they never signed in.")
	m.add("factory_users_active", "Members who signed in within the window, by lastSignInAt.", "window")
	m.add("factory_users_idle", "Members whose account is older than the window and who did not sign in within it, or ever.", "window")
	m.add("factory_users_new", "Members whose account was created within the window, by createdAt.", "window")
	m.add("factory_users_last_sign_in_age_seconds", "Time since the last sign-in of members who signed in. A snapshot: do not use rate() or increase().")
	m.add("factory_users_by_attribute", "Members by value of an attribute: email_domain or metadata.KEY. (none): without a value. (other): the values beyond --collector.group-limit.", "attribute", "value")
	m.add("factory_users_active_by_attribute", "Members in factory_users_active, by value of an attribute.", "attribute", "value", "window")
	m.add("factory_users_idle_by_attribute", "Members in factory_users_idle, by value of an attribute.", "attribute", "value", "window")
	m.add("factory_user_last_sign_in_timestamp_seconds", "When a member last signed in, by lastSignInAt. Absent if never.", "id")
	m.add("factory_user_created_timestamp_seconds", "When the account of a member was created, by createdAt.", "id")
	m.add("factory_listing_timestamp_seconds", "When the newest complete listing ended.")
	m.add("factory_listing_duration_seconds", "How long the newest complete listing took.")
	m.add("factory_listing_pages", "Pages of the newest complete listing.")
	m.add("factory_listing_duplicate_users", "Entries dropped from the newest complete listing because their id had already appeared in it.")
	m.add("factory_listing_in_progress", "1 if a listing was under way when this scrape was answered.")
	m.add("factory_listing_invalid_timestamps", "Unreadable timestamps in the newest complete listing, by field. Their members count in nothing that needs the field.", "field")
	return m
}

func (m *metrics) describe(ch chan<- *prometheus.Desc) {
	m.series.describe(ch)
	m.joined.Describe(ch)
	m.left.Describe(ch)
}

// series are those of a part of the page: their descriptors by name.
type series map[string]*prometheus.Desc

func (s series) add(name, help string, labels ...string) {
	var unit []prometheus.DescOpt
	if strings.HasSuffix(name, "_seconds") {
		unit = append(unit, prometheus.WithUnit("seconds"))
	}
	s[name] = prometheus.V2.NewDesc(name, help, prometheus.UnconstrainedLabels(labels), nil, unit...)
}

func (s series) describe(ch chan<- *prometheus.Desc) {
	for _, desc := range s {
		ch <- desc
	}
}

func (s series) gaugesTo(ch chan<- prometheus.Metric) func(name string, value float64, labels ...string) {
	return func(name string, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(s[name], prometheus.GaugeValue, value, labels...)
	}
}

// collect sends the series that the state allows to show.
func (m *metrics) collect(ch chan<- prometheus.Metric, s listingState, cfg *Config) {
	gauge := m.gaugesTo(ch)
	gauge("factory_up", boolean(s.up))
	gauge("factory_listing_in_progress", boolean(s.inProgress))
	m.joined.Collect(ch)
	m.left.Collect(ch)
	if cfg.SeatLimit > 0 {
		gauge("factory_seat_limit", float64(cfg.SeatLimit))
	}
	l := s.snapshot
	if l == nil {
		return
	}

	gauge("factory_users", float64(l.Users))
	gauge("factory_users_never_signed_in", float64(l.NeverSignedIn))
	for i, window := range cfg.Census.Windows {
		gauge("factory_users_active", float64(l.Windows[i].Active), window.Label)
		gauge("factory_users_idle", float64(l.Windows[i].Idle), window.Label)
		gauge("factory_users_new", float64(l.Windows[i].New), window.Label)
	}
	ages := l.SignInAges
	ch <- prometheus.MustNewConstHistogram(m.series["factory_users_last_sign_in_age_seconds"], ages.Count, ages.Sum, ages.Buckets)
	for _, g := range l.Groups {
		gauge("factory_users_by_attribute", float64(g.Users), g.Attribute, g.Value)
		for i, window := range cfg.Census.Windows {
			gauge("factory_users_active_by_attribute", float64(g.Windows[i].Active), g.Attribute, g.Value, window.Label)
			gauge("factory_users_idle_by_attribute", float64(g.Windows[i].Idle), g.Attribute, g.Value, window.Label)
		}
	}
	for _, user := range l.PerUser {
		if user.LastSignInAt.State == factoryapi.Valid {
			gauge("factory_user_last_sign_in_timestamp_seconds", seconds(user.LastSignInAt.Time), user.ID)
		}
		if user.CreatedAt.State == factoryapi.Valid {
			gauge("factory_user_created_timestamp_seconds", seconds(user.CreatedAt.Time), user.ID)
		}
	}

	gauge("factory_listing_timestamp_seconds", seconds(l.ended))
	gauge("factory_listing_duration_seconds", l.duration.Seconds())
	gauge("factory_listing_pages", float64(l.pages))
	gauge("factory_listing_duplicate_users", float64(l.Duplicates))
	gauge("factory_listing_invalid_timestamps", float64(l.InvalidCreatedAt), "createdAt")
	gauge("factory_listing_invalid_timestamps", float64(l.InvalidLastSignInAt), "lastSignInAt")
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
