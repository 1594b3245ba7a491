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
type usageMetrics struct {
	up                     *prometheus.Desc
	day                    *prometheus.Desc
	active, activeByClient *prometheus.Desc
	sessions               *prometheus.Desc
	messages, userMessages *prometheus.Desc
	credits                *prometheus.Desc
	creditsByModel         *prometheus.Desc
	tokens                 *prometheus.Desc

	knownDays, activeDays, unknownUsers *prometheus.Desc
	creditLimit, creditLimitsOfUsers    *prometheus.Desc

	used, unused, usedByAttribute, unusedByAttribute  *prometheus.Desc
	memberCredits, creditsByAttribute, creditsPerUser *prometheus.Desc

	descs // all of the above
}

func newUsageMetrics() *usageMetrics {
	m := &usageMetrics{}
	desc := m.add
	m.up = desc("factory_usage_up",
		"1 if the last finished reading of the analytics succeeded, 0 if it failed or none has finished.")
	m.day = desc("factory_usage_day_timestamp_seconds",
		"Start of the UTC day that the usage metrics describe.")
	m.knownDays = desc("factory_usage_known_days",
		"Days known in a row, back from the day that the usage metrics describe. A window has numbers once all its days are known.")
	m.activeDays = desc("factory_usage_active_days",
		"Days of the window on which anybody used the product.", "window")
	m.unknownUsers = desc("factory_usage_unknown_users",
		"Users of the product within the longest known window who are not members: people who left, and service accounts.")
	m.active = desc("factory_usage_active_users",
		"Active users, as the analytics count them, in the 1, 7 and 30 days up to the day.", "window")
	m.activeByClient = desc("factory_usage_active_users_by_client",
		"Active users of the day by client. A user of several clients counts in each.", "client")
	m.sessions = desc("factory_usage_sessions",
		"Sessions of the day.")
	m.messages = desc("factory_usage_messages",
		"Messages of the day.")
	m.userMessages = desc("factory_usage_user_messages",
		"Messages of the day that users wrote.")
	m.credits = desc("factory_usage_credits",
		"Factory Standard Credits of the day. The analytics call them billable tokens.")
	m.creditsByModel = desc("factory_usage_credits_by_model",
		"Factory Standard Credits of the day by model: the 20 with the most. (other) sums the rest.", "model")
	m.creditLimit = desc("factory_usage_credit_limit",
		"Limit of Factory Standard Credits for each user without one of their own. Absent if none is set, or it may not be read.")
	m.creditLimitsOfUsers = desc("factory_usage_credit_limits_of_users",
		"Users with a limit of Factory Standard Credits of their own.")
	m.tokens = desc("factory_usage_tokens",
		"Raw tokens of the day, by kind: input, output, cache_read or cache_write.", "kind")

	m.used = desc("factory_users_used",
		"Members who used the product within the window of whole UTC days: they had a session, a message or a tool call.", "window")
	m.unused = desc("factory_users_unused",
		"Members whose account is older than the window of whole UTC days and who did not use the product within it. Their seats could be reclaimed.", "window")
	m.usedByAttribute = desc("factory_users_used_by_attribute",
		"Members who used the product within the window, by value of an attribute.", "attribute", "value", "window")
	m.unusedByAttribute = desc("factory_users_unused_by_attribute",
		"Members whose account is older than the window and who did not use the product within it, by value of an attribute.", "attribute", "value", "window")
	m.memberCredits = desc("factory_users_credits",
		"Factory Standard Credits that members consumed within the window.", "window")
	m.creditsByAttribute = desc("factory_users_credits_by_attribute",
		"Factory Standard Credits that members consumed within the window, by value of an attribute.", "attribute", "value", "window")
	m.creditsPerUser = desc("factory_users_credits_per_user",
		"Factory Standard Credits of each member who used the product within the window. A snapshot: do not use rate() or increase().", "window")
	return m
}

// collect sends the series that the state allows to show. A number that the analytics
// did not tell has no series.
func (m *usageMetrics) collect(ch chan<- prometheus.Metric, s usageState, listing *snapshot, windows []census.Window) {
	gauge := gaugesTo(ch)
	gauge(m.up, boolean(s.up))
	if listing != nil && s.mayShow(listing.usage) { // which may be an older view
		m.collectMembers(ch, listing, windows)
	}
	if s.view != nil {
		m.collectOrganization(ch, s.view, windows)
	}
}

// collectMembers sends what the members of a listing did.
func (m *usageMetrics) collectMembers(ch chan<- prometheus.Metric, listing *snapshot, windows []census.Window) {
	gauge := gaugesTo(ch)
	view := listing.usage
	if longest := view.Longest(); longest >= 0 {
		gauge(m.unknownUsers, float64(view.Used-listing.Windows[longest].Used))
	}
	if listing.unmatched() {
		return
	}
	for i, window := range windows {
		if !view.Covers(i) {
			continue
		}
		counts, label := listing.Windows[i], window.Label
		gauge(m.used, float64(counts.Used), label)
		gauge(m.unused, float64(counts.Unused), label)
		for _, g := range listing.Groups {
			gauge(m.usedByAttribute, float64(g.Windows[i].Used), g.Attribute, g.Value, label)
			gauge(m.unusedByAttribute, float64(g.Windows[i].Unused), g.Attribute, g.Value, label)
		}
		if !view.Windows[i].Priced {
			continue
		}
		gauge(m.memberCredits, float64(counts.Credits), label)
		for _, g := range listing.Groups {
			gauge(m.creditsByAttribute, float64(g.Windows[i].Credits), g.Attribute, g.Value, label)
		}
		perUser := listing.Credits[i]
		ch <- prometheus.MustNewConstHistogram(m.creditsPerUser, perUser.Count, perUser.Sum, perUser.Buckets, label)
	}
}

// collectOrganization sends what the analytics tell of the whole organization.
func (m *usageMetrics) collectOrganization(ch chan<- prometheus.Metric, view *usage.View, windows []census.Window) {
	gauge := gaugesTo(ch)
	optional := func(d *prometheus.Desc, number factoryapi.Number, labels ...string) {
		if number.Valid {
			gauge(d, number.Value, labels...)
		}
	}
	gauge(m.day, seconds(view.Day.Start()))
	gauge(m.knownDays, float64(view.KnownDays))
	for i, window := range windows {
		if view.Covers(i) {
			gauge(m.activeDays, float64(view.Windows[i].ActiveDays), window.Label)
		}
	}
	activity, tokens := &view.Activity, &view.Tokens
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
	for model, credits := range largestModels(view.CreditsByModel) {
		gauge(m.creditsByModel, credits, census.LabelValue(model))
	}
	optional(m.tokens, tokens.Input, "input")
	optional(m.tokens, tokens.Output, "output")
	optional(m.tokens, tokens.CacheRead, "cache_read")
	optional(m.tokens, tokens.CacheWrite, "cache_write")
	optional(m.creditLimit, view.Limits.Global)
	optional(m.creditLimitsOfUsers, view.Limits.OfUsers)
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
