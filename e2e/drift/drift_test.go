package drift_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"factory_exporter/collector"
	"factory_exporter/e2e/drift"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// unseen are metrics that are on no panel and in no alert, with the reason.
var unseen = map[string]string{
	"factory_user_last_sign_in_timestamp_seconds": "a series a member: off by default, for questions asked by hand",
	"factory_user_created_timestamp_seconds":      "a series a member: off by default, for questions asked by hand",
}

func TestDashboardsAndAlertsAskForWhatIsExposed(t *testing.T) {
	_, problems := newChecker(t)
	report(t, problems)
}

func TestEveryMetricIsOnAPanelOrInAnAlert(t *testing.T) {
	checker, _ := newChecker(t)
	used := map[string]bool{}
	for name := range checker.Used {
		used[familyOf(name)] = true
	}
	for name := range checker.Known {
		family := familyOf(name)
		switch reason, listed := unseen[family]; {
		case !strings.HasPrefix(name, "factory_"):
		case !used[family] && !listed:
			t.Errorf("%s is exposed, but on no panel and in no alert", name)
		case used[family] && listed:
			t.Errorf("%s is on a panel or in an alert, though it is listed as unseen (%s)", name, reason)
		}
	}
	for name := range unseen {
		if _, ok := checker.Known[name]; !ok {
			t.Errorf("%s is listed as unseen, but not exposed", name)
		}
	}
}

func TestTestsOfTheRulesFeedWhatIsExposed(t *testing.T) {
	checker, _ := newChecker(t)
	expressions := must(drift.ReadRuleTests("../../alerts/factory.rules_test.yml"))(t)
	if len(expressions) == 0 {
		t.Error("no series")
	}
	report(t, checkAll(checker, expressions, nil))
}

func TestDocumentationAsksForWhatIsExposed(t *testing.T) {
	for _, file := range []string{"../../README.md", "../../alerts/README.md", "../../dashboards/README.md", "../../quickstart/README.md"} {
		checker, _ := newChecker(t)
		report(t, checkAll(checker, must(drift.ReadMarkdown(file))(t), examples()))
	}
}

func TestEveryAlertIsInTheRunbook(t *testing.T) {
	for _, rule := range must(drift.ReadRules("../../alerts/factory.rules.yml"))(t) {
		if rule.Alert == "" {
			continue
		}
		file, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		text := must(os.ReadFile(filepath.Join("../..", file)))(t)
		var anchors []string // as GitHub makes them of headings
		for _, heading := range regexp.MustCompile(`(?m)^#+ +(.+?) *$`).FindAllSubmatch(text, -1) {
			anchors = append(anchors, strings.ReplaceAll(strings.ToLower(string(heading[1])), " ", "-"))
		}
		if anchor != strings.ToLower(rule.Alert) || !slices.Contains(anchors, anchor) {
			t.Errorf("%s: %s has no heading for %q", rule.Alert, file, anchor)
		}
	}
}

// TestNoQueryIsOverlooked looks for queries wherever in a dashboard they may be.
func TestNoQueryIsOverlooked(t *testing.T) {
	for _, dashboard := range must(drift.ReadDashboards("../../dashboards/*.json"))(t) {
		found := map[string]bool{}
		for _, e := range dashboard.Expressions() {
			found[e.Text] = true
		}
		var content any
		if err := json.Unmarshal(must(os.ReadFile(filepath.Join("../../dashboards", dashboard.File)))(t), &content); err != nil {
			t.Fatal(err)
		}
		var visit func(any)
		visit = func(content any) {
			switch content := content.(type) {
			case []any:
				for _, element := range content {
					visit(element)
				}
			case map[string]any:
				for name, value := range content {
					if expr, ok := value.(string); ok && name == "expr" && !found[expr] {
						t.Errorf("%s: not checked: %s", dashboard.File, expr)
					}
					visit(value)
				}
			}
		}
		visit(content)
	}
}

// newChecker returns a checker that has seen the dashboards and the alerts, and what is wrong with them.
func newChecker(t *testing.T) (*drift.Checker, []error) {
	t.Helper()
	checker := drift.NewChecker(exposed(t))
	var problems []error
	for _, rule := range must(drift.ReadRules("../../alerts/factory.rules.yml"))(t) {
		problems = append(problems, checker.CheckRule(rule)...)
	}
	for _, dashboard := range must(drift.ReadDashboards("../../dashboards/*.json"))(t) {
		values := examples()
		maps.Copy(values, dashboard.Values())
		problems = append(problems, checkAll(checker, dashboard.Expressions(), values)...)
	}
	return checker, problems
}

func examples() map[string]string {
	return drift.BuiltIn(time.Minute, time.Minute, time.Hour)
}

func checkAll(checker *drift.Checker, expressions []drift.Expression, variables map[string]string) (problems []error) {
	for _, e := range expressions {
		text, err := drift.Fill(e.Text, variables)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", e.Where, err))
			continue
		}
		_, more := checker.Check(drift.Expression{Where: e.Where, Text: text})
		problems = append(problems, more...)
	}
	return problems
}

// familyOf is the name without what tells the series of a histogram apart.
func familyOf(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

func report(t *testing.T, problems []error) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}

// exposed are the series of an exporter with all its options on, and those that Prometheus adds.
func exposed(t *testing.T) drift.Series {
	t.Helper()
	api := httptest.NewServer(fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(250, 1, time.Now())...), "key"))
	t.Cleanup(api.Close)
	requests := collector.NewRequestMetrics()
	client := must(factoryapi.New(factoryapi.Config{
		URL:         api.URL,
		Credentials: must(factoryapi.NewStaticKey("key"))(t),
		Observe:     requests.Observe,
	}))(t)
	t.Cleanup(client.CloseIdleConnections)
	var windows []collector.Window // the default ones
	for _, days := range []int{1, 7, 30, 90} {
		windows = append(windows, collector.Window{Label: fmt.Sprintf("%dd", days), Length: time.Duration(days) * 24 * time.Hour})
	}
	members := collector.New(client, collector.Config{
		Census: collector.CensusConfig{
			Windows: windows,
			GroupBy: []collector.Attribute{
				must(collector.ParseAttribute("email_domain"))(t), must(collector.ParseAttribute("metadata.team"))(t),
			},
			GroupLimit: 5,
			PerUser:    true,
		},
		Schedule:  collector.Schedule{ListingTimeout: time.Minute},
		SeatLimit: 300,
	})
	t.Cleanup(members.Close)

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		members, requests,
		versioncollector.NewCollector("factory_exporter"),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	promhttp.InstrumentMetricHandler(registry, http.NotFoundHandler())
	known := drift.Series{}
	for _, family := range must(registry.Gather())(t) {
		name, labels := family.GetName(), labelsOf(family)
		known[name] = labels
		if family.GetType() == dto.MetricType_HISTOGRAM {
			for _, suffix := range []string{"_sum", "_count", "_bucket"} {
				known[name+suffix] = maps.Clone(labels)
			}
			known[name+"_bucket"]["le"] = nil
		}
	}
	known["up"] = drift.Labels{}
	for _, labels := range known {
		labels["job"], labels["instance"] = nil, nil // of the target
	}
	return known
}

// openLabels are those whose values are not all known here.
var openLabels = []string{"status", "attribute", "value", "id"}

func labelsOf(family *dto.MetricFamily) drift.Labels {
	labels := drift.Labels{}
	for _, metric := range family.GetMetric() {
		for _, label := range metric.GetLabel() {
			name := label.GetName()
			if slices.Contains(openLabels, name) {
				labels[name] = nil
			} else if !slices.Contains(labels[name], label.GetValue()) {
				labels[name] = append(labels[name], label.GetValue())
			}
		}
	}
	return labels
}

// must is for calls that return a value and an error: must(call())(t) is the value.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
