package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
)

// usageMetrics are the series about the readings and what they told: of the whole
// organization, and joined with a listing.
type usageMetrics struct {
	up                     *prometheus.Desc
	day                    *prometheus.Desc
	active, activeByClient *prometheus.Desc
	sessions               *prometheus.Desc
	messages, userMessages *prometheus.Desc
	credits                *prometheus.Desc
	tokens                 *prometheus.Desc

	used, unused, usedByAttribute, unusedByAttribute *prometheus.Desc

	descs // all of the above
}

func newUsageMetrics() *usageMetrics {
	m := &usageMetrics{}
	desc := m.add
	m.up = desc("factory_usage_up",
		"1 if the newest ended reading of the analytics succeeded. 0 if it failed, or if none has ended yet.")
	m.day = desc("factory_usage_day_timestamp_seconds",
		"When the day began that the usage metrics are of. Days are in UTC.")
	m.active = desc("factory_usage_active_users",
		"Active users as the analytics count them: in the day, in the 7 days and in the 30 days that end with it.", "window")
	m.activeByClient = desc("factory_usage_active_users_by_client",
		"Active users of the day by client, as the analytics count them. A user of several clients counts in each.", "client")
	m.sessions = desc("factory_usage_sessions",
		"Sessions of the day, as the analytics count them.")
	m.messages = desc("factory_usage_messages",
		"Messages of the day, as the analytics count them.")
	m.userMessages = desc("factory_usage_user_messages",
		"Messages of the day that users wrote, as the analytics count them.")
	m.credits = desc("factory_usage_credits",
		"Factory Standard Credits of the day, which the analytics call billable tokens.")
	m.tokens = desc("factory_usage_tokens",
		"Raw tokens of the day, by kind: input, output, cache_read or cache_write.", "kind")

	m.used = desc("factory_users_used",
		"Members who used the product within the window: they had a session, a message or a tool call. The window is of whole days in UTC and ends with the newest day that the analytics know.", "window")
	m.unused = desc("factory_users_unused",
		"Members with an account older than the window who did not use the product within the window. Their seats could be reclaimed. The window is of whole days in UTC and ends with the newest day that the analytics know.", "window")
	m.usedByAttribute = desc("factory_users_used_by_attribute",
		"Members who used the product within the window, by the value of an attribute.", "attribute", "value", "window")
	m.unusedByAttribute = desc("factory_users_unused_by_attribute",
		"Members with an account older than the window who did not use the product within the window, by the value of an attribute.", "attribute", "value", "window")
	return m
}

// collect sends the series that the state allows to show. A number that the analytics
// did not tell has no series.
func (m *usageMetrics) collect(ch chan<- prometheus.Metric, s usageState, listing *snapshot, windows []census.Window) {
	gauge := gaugesTo(ch)
	optional := func(d *prometheus.Desc, number factoryapi.Number, labels ...string) {
		if number.Valid {
			gauge(d, number.Value, labels...)
		}
	}
	gauge(m.up, boolean(s.up))
	if listing != nil && s.mayShow(listing.usage) { // which may be an older reading
		for i, window := range windows {
			if !listing.usage.Covers(i) {
				continue
			}
			gauge(m.used, float64(listing.Windows[i].Used), window.Label)
			gauge(m.unused, float64(listing.Windows[i].Unused), window.Label)
			for _, g := range listing.Groups {
				gauge(m.usedByAttribute, float64(g.Windows[i].Used), g.Attribute, g.Value, window.Label)
				gauge(m.unusedByAttribute, float64(g.Windows[i].Unused), g.Attribute, g.Value, window.Label)
			}
		}
	}
	if s.usage == nil {
		return
	}
	gauge(m.day, seconds(s.usage.Day().Start()))
	activity, tokens := s.usage.Activity(), s.usage.Tokens()
	optional(m.active, activity.Daily, "1d")
	optional(m.active, activity.Weekly, "7d")
	optional(m.active, activity.Monthly, "30d")
	for client, users := range activity.ByClient {
		gauge(m.activeByClient, users, census.LabelValue(client))
	}
	optional(m.sessions, activity.Sessions)
	optional(m.messages, activity.Messages)
	optional(m.userMessages, activity.UserMessages)
	optional(m.credits, tokens.Billable)
	optional(m.tokens, tokens.Input, "input")
	optional(m.tokens, tokens.Output, "output")
	optional(m.tokens, tokens.CacheRead, "cache_read")
	optional(m.tokens, tokens.CacheWrite, "cache_write")
}
