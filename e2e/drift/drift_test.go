package drift_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"factory_exporter/e2e/drift"
	"factory_exporter/e2e/internal/process"
	"factory_exporter/internal/harness"
)

const rulesFile = "../../alerts/factory.rules.yml"

func TestNothingAsksForWhatIsNotExposed(t *testing.T) {
	known := exposed(t)
	names := slices.Collect(maps.Keys(known)) // without those that rules make
	checker := drift.NewChecker(known)

	for _, rule := range must(drift.ReadRules(rulesFile))(t) {
		if err := rule.Check(checker); err != nil {
			t.Error(err)
		}
	}
	dashboards := must(drift.ReadDashboards("../../dashboards/*.json"))(t)
	var uids []string
	for _, d := range dashboards {
		uids = append(uids, d.UID)
	}
	for _, d := range dashboards {
		if err := d.Check(checker, uids); err != nil {
			t.Error(err)
		}
	}

	// What is used up to here is seen by somebody who does not ask for it.
	seen := map[string]bool{}
	for name := range checker.Used {
		seen[familyOf(name)] = true
	}
	for _, name := range names {
		family := familyOf(name)
		if strings.HasPrefix(name, "factory_") && !seen[family] {
			t.Errorf("%s is exposed, but on no panel in dashboards/ and in no rule in alerts/", name)
		}
	}

	var expressions []drift.Expression
	for _, file := range must(filepath.Glob("../../alerts/*_test.yml"))(t) {
		expressions = append(expressions, must(drift.ReadRuleTests(file))(t)...)
	}
	for _, pattern := range []string{"../../*.md", "../../*/*.md"} {
		for _, file := range must(filepath.Glob(pattern))(t) {
			expressions = append(expressions, must(drift.ReadMarkdown(file))(t)...)
		}
	}
	for _, e := range expressions {
		if err := checker.Check(must(drift.Fill(e.Text, drift.BuiltIn(time.Minute, time.Minute, time.Hour)))(t)); err != nil {
			t.Errorf("%s: %v", e.Where, err)
		}
	}
}

func TestEveryAlertIsTestedAndInTheRunbook(t *testing.T) {
	var tests []byte
	for _, file := range must(filepath.Glob("../../alerts/*_test.yml"))(t) {
		tests = append(tests, must(os.ReadFile(file))(t)...)
	}
	anchors := harness.Anchors(string(must(os.ReadFile("../../alerts/README.md"))(t)))
	for _, rule := range must(drift.ReadRules(rulesFile))(t) {
		if rule.Alert == "" {
			continue
		}
		_, anchor, _ := strings.Cut(rule.Annotations["runbook_url"], "#")
		if anchor != strings.ToLower(rule.Alert) || !slices.Contains(anchors, anchor) {
			t.Errorf("alerts/README.md has no heading %s, or runbook_url links to another one: %q", rule.Alert, anchor)
		}
		if !regexp.MustCompile(`\balertname: ` + rule.Alert + `\b`).Match(tests) {
			t.Errorf("alerts/factory.rules_test.yml has no test of %s", rule.Alert)
		}
	}
}

// familyOf is the name without what tells the series of a histogram apart.
func familyOf(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// openLabels have values that depend on the organization, on the time or on the build.
var openLabels = []string{"attribute", "client", "goversion", "id", "le", "revision", "status", "value", "version"}

// targetLabels come from the configuration of Prometheus and its service discovery.
var targetLabels = []string{"cluster", "instance", "job", "namespace"}

// exposed are the series of an exporter that exposes all it can, as Prometheus stores
// them, and those that Prometheus adds.
func exposed(t *testing.T) drift.Series {
	t.Helper()
	exporter := must(process.BuildExporter(t.TempDir()))(t)
	p := process.Serve(t, nil, exporter, append(process.AllSeries(t, exporter), "--demo")...)
	families := map[string]*dto.MetricFamily{}
	process.Eventually(t, func() (err error) {
		if families, err = scrape(p.URL() + "/metrics"); err != nil {
			return err
		}
		for name, family := range families {
			if strings.HasSuffix(name, "_up") && family.Metric[0].Gauge.GetValue() != 1 {
				return fmt.Errorf("%s is not 1", name)
			}
		}
		// Larger windows appear as the reading goes on, and count from the next listing on.
		if got, want := len(families["factory_users_used"].GetMetric()), len(families["factory_users_active"].GetMetric()); got != want {
			return fmt.Errorf("factory_users_used has %d windows of %d", got, want)
		}
		return nil
	})

	known := drift.Series{}
	add := func(name string, family *dto.MetricFamily, more ...string) {
		known[name] = drift.Labels{}
		for _, label := range targetLabels {
			known[name][label] = nil
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				values := known[name][label.GetName()]
				if !slices.Contains(openLabels, label.GetName()) && !slices.Contains(values, label.GetValue()) {
					values = append(values, label.GetValue())
				}
				known[name][label.GetName()] = values
			}
		}
		for _, label := range more {
			known[name][label] = nil
		}
	}
	for name, family := range families {
		if family.GetType() != dto.MetricType_HISTOGRAM {
			add(name, family)
			continue
		}
		add(name+"_bucket", family, "le")
		add(name+"_sum", family)
		add(name+"_count", family)
		add(name, family) // as a native histogram, which Prometheus can make of a classic one
	}
	for _, name := range []string{
		"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added",
	} {
		add(name, nil)
	}
	return known
}

// scrape asks for the format that tells native histograms apart.
func scrape(url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	decoder := expfmt.NewDecoder(response.Body, expfmt.ResponseFormat(response.Header))
	families := map[string]*dto.MetricFamily{}
	for {
		var family dto.MetricFamily
		switch err := decoder.Decode(&family); {
		case errors.Is(err, io.EOF):
			return families, nil
		case err != nil:
			return nil, err
		}
		families[family.GetName()] = &family
	}
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
