package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"factory_exporter/e2e/drift"
	"factory_exporter/factoryapi/fakeapi"
)

const (
	timeRange = time.Minute // that the dashboards show here
	calm      = 5 * time.Second
)

// TestDashboards asks two replicas of the exporter all that the dashboards ask, the way Grafana does.
func TestDashboards(t *testing.T) {
	t.Parallel()
	dashboards, err := drift.ReadDashboards("../dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	org := newOrganization(t, 250)
	flags := []string{"--factory.seat-limit=300", "--collector.group-by=email_domain", "--collector.group-by=metadata.team"}
	replicas := exporters{"a": startExporter(t, org, flags...), "b": startExporter(t, org, flags...)}
	kinds := map[string]*prometheus{
		"classic histograms": startPrometheus(t, prometheusOptions{exporters: replicas}),
		"native histograms":  startPrometheus(t, prometheusOptions{exporters: replicas, nativeHistograms: true}),
	}

	// Something has to happen, or there is nothing to show.
	for _, p := range kinds {
		p.becomes(t, "count(factory_users == 250) == 2")
	}
	org.join(9)
	org.leave(4)
	for _, status := range []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		org.api.Inject(fakeapi.Fault{Times: 2, Serve: fakeapi.Status(status)})
	}
	for _, p := range kinds {
		p.becomes(t, "count(factory_users_joined_total == 9 and factory_users_left_total == 4) == 2")
		p.becomes(t, "sum by (job) (factory_api_errors_total) >= 6")
		p.becomes(t, "min(count_over_time(factory_users[1m])) >= 12")
		p.becomes(t, fmt.Sprintf("count(changes(factory_users[%s]) == 0) == 2", calm+scrapeInterval))
	}

	for name, p := range kinds {
		t.Run("every query returns data, with "+name, func(t *testing.T) {
			for _, dashboard := range dashboards {
				everyQueryReturnsData(t, p, dashboard)
			}
		})
	}
	t.Run("replicas do not add to the seats", func(t *testing.T) {
		for _, dashboard := range dashboards {
			replicasDoNotAddToTheSeats(t, kinds["classic histograms"], dashboard)
		}
	})
}

func everyQueryReturnsData(t *testing.T, p *prometheus, dashboard drift.Dashboard) {
	asked := map[string]bool{}
	queries := 0
	for _, values := range selections(t, p, dashboard) {
		for _, panel := range dashboard.Panels {
			for _, query := range panel.Queries {
				expr := fill(t, query.Expression, values)
				if asked[expr] {
					continue
				}
				asked[expr] = true
				if err := p.returnsData(t, expr, query.Instant); err != nil {
					t.Errorf("%s: %v\n%s", query.Where, err, expr)
				}
			}
		}
	}
	for _, panel := range dashboard.Panels {
		queries += len(panel.Queries)
	}
	t.Logf("%s: %d variables, %d panels, %d queries, asked in %d ways", dashboard.File, len(dashboard.Variables), len(dashboard.Panels), queries, len(asked))
}

// selections are ways to fill in the variables: as when the dashboard is opened, and then with one of them
// at each of its other values.
func selections(t *testing.T, p *prometheus, dashboard drift.Dashboard) []map[string]string {
	t.Helper()
	opened := drift.BuiltIn(4*scrapeInterval, scrapeInterval, timeRange)
	others := map[string][]string{}
	for _, v := range dashboard.Variables {
		if v.Type == "datasource" {
			continue
		}
		options := p.optionsOf(t, v, opened)
		if len(options) == 0 {
			t.Errorf("%s: variable %s: there is nothing to choose", dashboard.File, v.Name)
			continue
		}
		opened[v.Name] = v.Current
		switch {
		case v.IncludeAll && v.Current == "":
			opened[v.Name] = "(" + strings.Join(options, "|") + ")"
		case v.Current == "":
			opened[v.Name] = options[0]
		case !v.IncludeAll && !slices.Contains(options, v.Current):
			t.Errorf("%s: variable %s: %q is chosen, but not among %q", dashboard.File, v.Name, v.Current, options)
		}
		others[v.Name] = options
	}
	all := []map[string]string{opened}
	for name, options := range others {
		for _, option := range options {
			values := maps.Clone(opened)
			values[name] = option
			all = append(all, values)
		}
	}
	return all
}

// optionsOf are the values that a variable can have, given those of the variables before it.
func (p *prometheus) optionsOf(t *testing.T, v drift.Variable, values map[string]string) []string {
	t.Helper()
	if v.Type != "query" {
		return v.Options
	}
	selector, label, ok := v.LabelValues()
	if !ok {
		t.Fatalf("variable %s: only label_values is known here", v.Name)
	}
	var matches []string
	if selector != "" {
		matches = []string{fill(t, drift.Expression{Where: "variable " + v.Name, Text: selector}, values)}
	}
	found, warnings, infos, err := p.LabelValues(t.Context(), label, matches, time.Now().Add(-timeRange), time.Now())
	if err != nil || len(warnings)+len(infos) > 0 {
		t.Fatalf("variable %s: %v %q %q", v.Name, err, warnings, infos)
	}
	var options []string
	for _, value := range found {
		option := string(value)
		if v.Multi { // as a part of a regular expression inside a quoted string
			option = strings.ReplaceAll(regexp.QuoteMeta(option), `\`, `\\`)
		}
		options = append(options, option)
	}
	return options
}

// returnsData sends a panel's query, the way Grafana does.
func (p *prometheus) returnsData(t *testing.T, expr string, instant bool) error {
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
		return err
	}
	if len(warnings)+len(infos) > 0 {
		return fmt.Errorf("%q %q", warnings, infos)
	}
	numbers := 0
	count := func(v model.SampleValue) {
		if !math.IsNaN(float64(v)) {
			numbers++
		}
	}
	switch value := value.(type) {
	case model.Vector:
		for _, sample := range value {
			count(sample.Value)
		}
	case model.Matrix:
		for _, series := range value {
			for _, pair := range series.Values {
				count(pair.Value)
			}
		}
	}
	if numbers == 0 {
		return errors.New("no data")
	}
	return nil
}

// replicasDoNotAddToTheSeats asks every query on seats for one replica and for both, at the same time.
func replicasDoNotAddToTheSeats(t *testing.T, p *prometheus, dashboard drift.Dashboard) {
	now := time.Now()
	opened := selections(t, p, dashboard)[0]
	// Nobody joined or left in that time. Before, the replicas were not scraped at the same moments, and
	// growth is not quite the same for each.
	maps.Copy(opened, drift.BuiltIn(4*scrapeInterval, calm/20, calm))
	compared := 0
	for _, panel := range dashboard.Panels {
		for _, query := range panel.Queries {
			if !isAboutSeats(t, fill(t, query.Expression, opened)) {
				continue
			}
			compared++
			answer := func(instances string) map[string]float64 {
				values := maps.Clone(opened)
				values["instance"] = instances
				result, _, _, err := p.Query(t.Context(), fill(t, query.Expression, values), now)
				if err != nil {
					t.Fatalf("%s: %v", query.Where, err)
				}
				numbers := map[string]float64{}
				for _, sample := range result.(model.Vector) {
					numbers[sample.Metric.String()] = float64(sample.Value)
				}
				return numbers
			}
			one, both := answer("a"), answer("a|b")
			// What increased within a day is extrapolated, which differs a little.
			alike := func(a, b float64) bool { return math.Abs(a-b) <= 0.25*math.Abs(a) }
			if len(one) == 0 || !maps.EqualFunc(one, both, alike) {
				t.Errorf("%s: one replica %v, both %v\n%s", query.Where, one, both, query.Text)
			}
		}
	}
	if compared == 0 {
		t.Errorf("%s: no query is about seats", dashboard.File)
	}
	t.Logf("%s: %d queries on seats", dashboard.File, compared)
}

// isAboutSeats reports whether an expression has to do with members or seats, and with nothing else.
func isAboutSeats(t *testing.T, expr string) bool {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%v\n%s", err, expr)
	}
	seats := true
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			seats = seats && (strings.HasPrefix(selector.Name, "factory_user") || selector.Name == "factory_seat_limit")
		}
		return nil
	})
	return seats
}

func fill(t *testing.T, e drift.Expression, values map[string]string) string {
	t.Helper()
	filled, err := drift.Fill(e.Text, values)
	if err != nil {
		t.Fatalf("%s: %v", e.Where, err)
	}
	return filled
}
