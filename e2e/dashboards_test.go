package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v4"

	"factory_exporter/e2e/drift"
	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
)

const timeRange = time.Minute // that the dashboards show here

// Prometheus scrapes the organization of the demo, with every option on, and is asked all
// that the dashboards ask, the way Grafana does. There are two replicas, whose series must
// not be in each other's way. That none is added up is told in drift/check_test.go.
func TestEveryQueryOfTheDashboardsReturnsData(t *testing.T) {
	t.Parallel()
	demo := fakeapi.NewDemo(apiKey, 1, time.Now())
	scraped := make(chan struct{}) // closed when all have seen that there was no reading yet
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, fakeapi.AnalyticsPath) {
			select {
			case <-scraped:
			case <-r.Context().Done():
			}
		}
		demo.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	org := &organization{url: api.URL}
	// Of a second, so that no scrape is late where the machine is busy.
	flags := append(process.AllSeries(t, programs.exporter), "--web.timeout-offset=900ms")
	options := prometheusOptions{
		exporters: exporters{"a": startExporter(t, org, flags...), "b": startExporter(t, org, flags...)}, rules: lenientRules(t),
	}
	kinds := map[string]*prometheus{"classic histograms": startPrometheus(t, options)}
	options.nativeHistograms = true
	kinds["native histograms"] = startPrometheus(t, options)
	for _, p := range kinds {
		p.becomes(t, "count(factory_usage_up == 0) == 2")
	}
	close(scraped)
	for _, p := range kinds {
		p.becomes(t, `min({__name__=~"factory_(.+_)?up"}) == 1`)
		p.becomes(t, "count(factory_users_used) == count(factory_users_active)") // windows appear as days become known
		p.becomes(t, "count(count_over_time(factory_users[1m]) >= 12) == 2")
		// The demo has more members than there are seats by the flags.
		p.becomes(t, `ALERTS{alertname="FactorySeatLimitReached", alertstate="firing"}`)
	}
	dashboards, err := drift.ReadDashboards("../dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, dashboard := range dashboards {
		everyQueryReturnsData(t, kinds, dashboard)
	}
}

// everyQueryReturnsData fails for a query without data in all kinds of Prometheus, and
// for a panel without data in one of them: a histogram may have a query for each kind.
func everyQueryReturnsData(t *testing.T, kinds map[string]*prometheus, dashboard drift.Dashboard) {
	type question struct{ kind, expr string }
	answered := map[question]bool{}
	failed := map[string]bool{} // what was reported already
	fail := func(query drift.Query, problem, expr string) {
		if !failed[query.Panel] {
			t.Errorf("%s: %s: %s\n%s", dashboard.File, query.Where, problem, expr)
		}
		failed[query.Panel] = true
	}
	ways, err := selections(t, kinds["classic histograms"], dashboard)
	if err != nil {
		t.Errorf("%s: %v", dashboard.File, err)
	}
	for _, values := range ways {
		shows := map[string][]string{} // the kinds in which a panel shows something
		for _, query := range dashboard.Queries {
			expr := fill(t, query.Where, query.Text, values)
			shown := false
			for kind, p := range kinds {
				q := question{kind, expr}
				if _, asked := answered[q]; !asked {
					var err error
					if answered[q], err = p.returnsData(t, expr, query.Instant); err != nil {
						fail(query, err.Error(), expr)
					}
				}
				if answered[q] {
					shown = true
					shows[query.Panel] = append(shows[query.Panel], kind)
				}
			}
			if !shown {
				fail(query, "no data", expr)
			}
		}
		for _, query := range dashboard.Queries {
			for kind := range kinds {
				if !slices.Contains(shows[query.Panel], kind) {
					fail(query, "no query of this panel has data with "+kind, query.Text)
				}
			}
		}
	}
	t.Logf("%s: %d variables, %d queries, asked in %d ways", dashboard.File, len(dashboard.Variables), len(dashboard.Queries), len(answered)/len(kinds))
}

// selections are ways to fill in the variables: as when the dashboard is opened, and then
// with one of them at some of its other values. The error tells of variables without a
// value to choose.
func selections(t *testing.T, p *prometheus, dashboard drift.Dashboard) (all []map[string]string, err error) {
	t.Helper()
	opened := drift.BuiltIn(4*scrapeInterval, scrapeInterval, timeRange)
	others := map[string][]string{}
	for _, v := range dashboard.Variables {
		if v.Type == "datasource" {
			opened[v.Name] = "" // no query names it
			continue
		}
		options := p.optionsOf(t, dashboard, v, opened)
		if len(options) == 0 {
			err = errors.Join(err, fmt.Errorf("variable %s: there is nothing to choose", v.Name))
			options = []string{"none"}
		}
		value := v.Opened()
		switch {
		case v.IncludeAll && value == "":
			value = "(" + strings.Join(options, "|") + ")"
		case value == "":
			value = options[0]
		case !v.IncludeAll && !slices.Contains(options, value):
			err = errors.Join(err, fmt.Errorf("variable %s: %q is chosen, but not among %q", v.Name, value, options))
		}
		opened[v.Name] = value
		others[v.Name] = options
	}
	all = []map[string]string{opened}
	for name, options := range others {
		for _, option := range spread(options, 5) {
			values := maps.Clone(opened)
			values[name] = option
			all = append(all, values)
		}
	}
	return all, err
}

// spread returns n of the elements, from the first to the last, or all if there are no
// more.
func spread(all []string, n int) []string {
	if len(all) <= n {
		return all
	}
	var some []string
	for i := range n {
		some = append(some, all[i*(len(all)-1)/(n-1)])
	}
	return some
}

// optionsOf are the values that a variable can have, given those of the variables before
// it.
func (p *prometheus) optionsOf(t *testing.T, dashboard drift.Dashboard, v drift.Variable, values map[string]string) []string {
	t.Helper()
	where := fmt.Sprintf("%s: variable %s", dashboard.File, v.Name)
	if v.Type != "query" {
		return v.Options()
	}
	expr, label, err := v.Expression()
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if expr == "" { // of all series
		expr = fmt.Sprintf(`group by (%s) ({job!=""})`, label)
	}
	var options []string
	for _, sample := range p.query(t, fill(t, where, expr, values)) {
		option := string(sample.Metric[model.LabelName(label)])
		if label == "" { // the whole sample, as Grafana writes it
			option = fmt.Sprintf("%s %s %d", sample.Metric, sample.Value, sample.Timestamp)
		}
		if option = choose(t, where, v.Regex, option); option == "" || slices.Contains(options, option) {
			continue
		}
		if v.Multi { // as a part of a regular expression inside a quoted string
			option = strings.ReplaceAll(regexp.QuoteMeta(option), `\`, `\\`)
		}
		options = append(options, option)
	}
	slices.Sort(options)
	return options
}

// choose returns what a variable's regular expression, in slashes, takes of a text: its
// group named value, or its first group, or all that matches.
func choose(t *testing.T, where, expr, text string) string {
	t.Helper()
	if expr == "" {
		return text
	}
	re, err := regexp.Compile(strings.Trim(expr, "/"))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	found := re.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	if i := re.SubexpIndex("value"); i > 0 {
		return found[i]
	}
	return found[min(1, len(found)-1)]
}

// returnsData reports whether a query has data. One that rightly has none in a quiet
// minute must have some when it is asked leniently.
func (p *prometheus) returnsData(t *testing.T, expr string, instant bool) (bool, error) {
	t.Helper()
	for _, expr := range []string{expr, lenient(t, expr)} {
		if has, err := p.hasNumbers(t, expr, instant); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// lenient is an expression without what a minute in which nothing happens cannot fulfill:
// comparisons and unless leave nothing out, and nothing looks back further than the
// minute.
func lenient(t *testing.T, expr string) string {
	t.Helper()
	return rewrite(t, expr, func(node parser.Node) {
		switch n := node.(type) {
		case *parser.BinaryExpr:
			if n.Op.IsComparisonOperator() {
				n.ReturnBool = true
			}
			if n.Op == parser.LUNLESS {
				n.Op = parser.LOR
			}
		case *parser.VectorSelector:
			n.OriginalOffset = 0
		case *parser.SubqueryExpr:
			n.OriginalOffset, n.Range, n.Step = 0, timeRange, scrapeInterval
		}
	})
}

// lenientRules is a copy of the impatient rules in which what is recorded needs no history.
func lenientRules(t *testing.T) string {
	t.Helper()
	file := impatientRules(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []map[string]any
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules.Groups[0].Rules {
		if rule["record"] != nil {
			rule["expr"] = lenient(t, rule["expr"].(string))
		}
	}
	if text, err = yaml.Marshal(rules); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// hasNumbers sends a panel's query, the way Grafana does.
func (p *prometheus) hasNumbers(t *testing.T, expr string, instant bool) (bool, error) {
	t.Helper()
	end := time.Now()
	var value model.Value
	var warnings promv1.Warnings
	var infos promv1.Infos
	var err error
	if instant {
		value, warnings, infos, err = p.Query(t.Context(), expr, end)
	} else {
		value, warnings, infos, err = p.QueryRange(t.Context(), expr, promv1.Range{Start: end.Add(-timeRange), End: end, Step: scrapeInterval})
	}
	if err != nil {
		return false, err
	}
	if len(warnings)+len(infos) > 0 {
		return false, fmt.Errorf("%q %q", warnings, infos)
	}
	switch value := value.(type) {
	case model.Vector:
		return slices.ContainsFunc(value, func(s *model.Sample) bool { return s.Histogram != nil || !math.IsNaN(float64(s.Value)) }), nil
	case model.Matrix:
		return slices.ContainsFunc(value, func(s *model.SampleStream) bool {
			return len(s.Histograms) > 0 || slices.ContainsFunc(s.Values, func(p model.SamplePair) bool { return !math.IsNaN(float64(p.Value)) })
		}), nil
	case *model.Scalar:
		return true, nil
	}
	return false, errors.New("neither a vector nor a matrix nor a scalar")
}

// rewrite changes each node of an expression.
func rewrite(t *testing.T, expr string, change func(parser.Node)) string {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%v\n%s", err, expr)
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		change(node)
		return nil
	})
	return parsed.String()
}

func fill(t *testing.T, where, text string, values map[string]string) string {
	t.Helper()
	filled, err := drift.Fill(text, values)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	return filled
}
