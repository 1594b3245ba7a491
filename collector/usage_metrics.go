package collector

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// usageMetrics are the series about the readings and what they told: of the whole
// organization, and joined with a listing.
type usageMetrics struct{ series }

func newUsageMetrics() *usageMetrics {
	m := &usageMetrics{series{}}
	m.add("factory_usage_up", "1 if the last finished reading of the analytics succeeded, 0 if it failed or none has finished.")
	m.add("factory_usage_day_timestamp_seconds", "Start of the UTC day that the usage metrics describe.")
	m.add("factory_usage_known_days", "Days known in a row, back from the day that the usage metrics describe. A window has numbers once all its days are known.")
	m.add("factory_usage_active_days", "Days of the window on which anybody used the product.", "window")
	m.add("factory_usage_unknown_users", "Users of the product within the longest known window who are not members: people who left, and service accounts.")
	m.add("factory_usage_active_users", "Active users, as the analytics count them, in the 1, 7 and 30 days up to the day.", "window")
	m.add("factory_usage_active_users_by_client", "Active users of the day by client. A user of several clients counts in each.", "client")
	m.add("factory_usage_sessions", "Sessions of the day.")
	m.add("factory_usage_messages", "Messages of the day.")
	m.add("factory_usage_user_messages", "Messages of the day that users wrote.")
	m.add("factory_usage_credits", "Factory Standard Credits of the day. The analytics call them billable tokens.")
	m.add("factory_usage_credits_by_model", "Credits of the day by model: the 20 with the most. (other) sums the rest.", "model")
	m.add("factory_usage_credit_limit", "Limit of credits for each user without one of their own. Absent if none is set, or it may not be read.")
	m.add("factory_usage_credit_limits_of_users", "Users with a limit of credits of their own.")
	m.add("factory_usage_tokens", "Raw tokens of the day, by kind: input, output, cache_read or cache_write.", "kind")
	m.add("factory_users_used", "Members who used the product within the window of whole UTC days: they had a session, a message or a tool call.", "window")
	m.add("factory_users_unused", "Members whose account is older than the window of whole UTC days and who did not use the product within it.", "window")
	m.add("factory_users_used_by_attribute", "Members in factory_users_used, by value of an attribute.", "attribute", "value", "window")
	m.add("factory_users_unused_by_attribute", "Members in factory_users_unused, by value of an attribute.", "attribute", "value", "window")
	m.add("factory_users_credits", "Factory Standard Credits that members consumed within the window.", "window")
	m.add("factory_users_credits_by_attribute", "Credits in factory_users_credits, by value of an attribute.", "attribute", "value", "window")
	m.add("factory_users_credits_per_user", "Credits of each member who used the product within the window. A snapshot: do not use rate() or increase().", "window")
	return m
}

// collect sends the series that the state allows to show. A number that the analytics
// did not tell has no series.
func (m *usageMetrics) collect(ch chan<- prometheus.Metric, s usageState, listing *snapshot, windows []census.Window) {
	gauge := m.gaugesTo(ch)
	gauge("factory_usage_up", boolean(s.up))
	view := s.view
	if listing != nil && s.mayShow(listing.usage) {
		view = listing.usage // which may be older: all numbers are of one day
		m.collectMembers(ch, listing, windows)
	}
	if view != nil {
		m.collectOrganization(ch, view, windows)
	}
}

// collectMembers sends what the members of a listing did.
func (m *usageMetrics) collectMembers(ch chan<- prometheus.Metric, listing *snapshot, windows []census.Window) {
	gauge := m.gaugesTo(ch)
	view := listing.usage
	if longest := view.Longest(); longest >= 0 {
		gauge("factory_usage_unknown_users", float64(view.Used-listing.Windows[longest].Used))
	}
	if listing.unmatched {
		return
	}
	for i, window := range windows {
		if !view.Covers(i) {
			continue
		}
		counts, label := listing.Windows[i], window.Label
		gauge("factory_users_used", float64(counts.Used), label)
		gauge("factory_users_unused", float64(counts.Unused), label)
		for _, g := range listing.Groups {
			gauge("factory_users_used_by_attribute", float64(g.Windows[i].Used), g.Attribute, g.Value, label)
			gauge("factory_users_unused_by_attribute", float64(g.Windows[i].Unused), g.Attribute, g.Value, label)
		}
		if !view.Windows[i].Priced {
			continue
		}
		gauge("factory_users_credits", float64(counts.Credits), label)
		for _, g := range listing.Groups {
			gauge("factory_users_credits_by_attribute", float64(g.Windows[i].Credits), g.Attribute, g.Value, label)
		}
		perUser := listing.Credits[i]
		ch <- prometheus.MustNewConstHistogram(m.series["factory_users_credits_per_user"], perUser.Count, perUser.Sum, perUser.Buckets, label)
	}
}

// collectOrganization sends what the analytics tell of the whole organization.
func (m *usageMetrics) collectOrganization(ch chan<- prometheus.Metric, view *usage.View, windows []census.Window) {
	gauge := m.gaugesTo(ch)
	optional := func(name string, number factoryapi.Number, labels ...string) {
		if number.Valid {
			gauge(name, number.Value, labels...)
		}
	}
	gauge("factory_usage_day_timestamp_seconds", seconds(view.Day.Start()))
	gauge("factory_usage_known_days", float64(view.KnownDays))
	for i, window := range windows {
		if view.Covers(i) {
			gauge("factory_usage_active_days", float64(view.Windows[i].ActiveDays), window.Label)
		}
	}
	activity, tokens := &view.Activity, &view.Tokens
	optional("factory_usage_active_users", activity.Daily, "1d")
	optional("factory_usage_active_users", activity.Weekly, "7d")
	optional("factory_usage_active_users", activity.Monthly, "30d")
	for client, users := range activity.ByClient {
		gauge("factory_usage_active_users_by_client", users, census.LabelValue(client))
	}
	optional("factory_usage_sessions", activity.Sessions)
	optional("factory_usage_messages", activity.Messages)
	optional("factory_usage_user_messages", activity.UserMessages)
	optional("factory_usage_credits", tokens.Billable)
	for model, credits := range largestModels(view.CreditsByModel) {
		gauge("factory_usage_credits_by_model", credits, census.LabelValue(model))
	}
	optional("factory_usage_tokens", tokens.Input, "input")
	optional("factory_usage_tokens", tokens.Output, "output")
	optional("factory_usage_tokens", tokens.CacheRead, "cache_read")
	optional("factory_usage_tokens", tokens.CacheWrite, "cache_write")
	optional("factory_usage_credit_limit", view.Limits.Global)
	optional("factory_usage_credit_limits_of_users", view.Limits.OfUsers)
}

// largestModels returns the models with the most credits, and the sum of all others.
func largestModels(credits map[string]float64) map[string]float64 {
	const most = 20
	models := slices.SortedFunc(maps.Keys(credits), func(a, b string) int {
		return cmp.Or(cmp.Compare(credits[b], credits[a]), strings.Compare(a, b))
	})
	largest := map[string]float64{}
	for i, model := range models {
		if i >= most {
			model = census.OtherValue
		}
		largest[model] += credits[models[i]]
	}
	return largest
}
