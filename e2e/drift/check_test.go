package drift_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"factory_exporter/e2e/drift"
)

// known are a few series to test the checker with.
func known() drift.Series {
	return drift.Series{
		"seats":           {"job": nil, "instance": nil},
		"members":         {"job": nil, "instance": nil, "window": {"7d", "30d"}},
		"latency_bucket":  {"job": nil, "le": nil},
		"latency":         {"job": nil},
		"requests_total":  {"job": nil, "status": nil},
		"listing_version": {"job": nil, "version": nil},

		"factory_users_joined_total": {"job": nil},
	}
}

func TestCheckFindsWhatIsNotExposed(t *testing.T) {
	for expr, problem := range map[string]string{
		`sum(seats`:                               "unclosed left parenthesis",
		`rate(seats)`:                             "expected type range vector",
		`seats + increase(requests[5m])`:          "no metric is requests",
		`max_over_time((seats - chairs)[1h:5m])`:  "no metric is chairs",
		`{__name__=~"chairs|stools"}`:             "no metric is",
		`seats{window="7d"}`:                      `seats has no label "window"`,
		`members{window="7 d"}`:                   `no value of label window of members is window="7 d"`,
		`members{window=~"1d|90d"}`:               "no value of label window",
		`max by (job, windows) (seats + members)`: `nothing has the labels ["windows"]`,
		`1 + 2`: "",
		`time() - seats{job=~"a|b", instance!=""}`: "",
		`members{window!="1d"} # a comment`:        "",
		`sum by (team) (label_replace(max by (window) (seats or members), "team", "$1", "window", "(.*)"))`: "",
		`deriv((max by (job) (seats))[14d:1h]) / on (any) members{window=~"7d|90d"}`:                        "",
	} {
		t.Run(expr, func(t *testing.T) {
			err := drift.NewChecker(known()).Check(expr)
			if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
				t.Errorf("%v, want %q", err, problem)
			}
		})
	}
}

func TestCheckNotesWhatIsUsed(t *testing.T) {
	checker := drift.NewChecker(known())
	if err := checker.Check(`seats / on (job) sum by (job) ({__name__=~"lat.*", job="a"})`); err != nil {
		t.Error(err)
	}
	used := slices.Sorted(maps.Keys(checker.Used))
	if want := []string{"latency", "latency_bucket", "seats"}; !slices.Equal(used, want) {
		t.Errorf("used %q, want %q", used, want)
	}
}

func TestCheckKnowsTheSeriesThatRulesMake(t *testing.T) {
	checker := drift.NewChecker(known())
	for _, rule := range []drift.Rule{
		{Record: "job:seats:max", Expr: "max by (job) (seats) or last_over_time(job:seats:max[1h])"},
		{Alert: "SeatsGone", Expr: `job:seats:max == 0 unless ALERTS{alertname="SeatsGone"}`},
	} {
		if err := rule.Check(checker); err != nil {
			t.Error(err)
		}
	}
	broken := drift.Rule{Alert: "ChairsGone", Expr: "chairs == 0"}
	if err := broken.Check(checker); err == nil || !strings.Contains(err.Error(), "rule ChairsGone: no metric is chairs") {
		t.Errorf("a rule without a metric: %v", err)
	}
}

// dashboard has what a dashboard of Grafana has, and nothing wrong.
const dashboard = `{
	"uid": "one",
	"annotations": {"list": [{"name": "Restarts", "expr": "changes(seats{job=~\"$job\"}[5m]) > 0"}, {"builtIn": 1, "name": "Alerts"}]},
	"templating": {"list": [
		{"name": "datasource", "type": "datasource", "query": "prometheus"},
		{"name": "job", "type": "query", "query": "label_values(seats{job=~\"b,c\"}, job)", "multi": true, "allValue": ".+", "current": {"value": ["$__all"]}},
		{"name": "team", "type": "query", "query": {"query": "query_result(max by (job) (seats))", "refId": "x"}, "current": {"value": ["a", "b"]}},
		{"name": "names", "type": "query", "query": "label_values(job)"},
		{"name": "window", "type": "query", "query": "label_values(members, window)", "current": {}},
		{"name": "range", "type": "custom", "query": "7d, month : 30d", "current": {"value": "30d"}},
		{"name": "price", "type": "textbox", "query": "20"}
	]},
	"links": [{"title": "Back", "url": "/d/one?var-job=${job:queryparam}&${__url_time_range}"}],
	"panels": [
		{"title": "Text of $1", "type": "text"},
		{"title": "One of $team", "targets": [
			{"refId": "A", "expr": "seats{job=~\"$job\"}", "instant": true, "legendFormat": "{{job}} {{ instance }}"},
			{"refId": "B", "expr": "members{job=~\"$job\", window=\"$window\"} * ${price}"},
			{"refId": "C", "expr": "job:members:max{job=~\"$job\", window=~\"$window\"}"}
		]},
		{"title": "Row", "type": "row", "panels": [{"title": "Two", "targets": [{"expr": "max by (job) (max_over_time(latency{job=~\"$job\"}[$__range]))", "legendFormat": "{{job}}"}]}]}
	]}`

func TestDashboardsAreReadAsGrafanaReadsThem(t *testing.T) {
	d := must(drift.ReadDashboards(write(t, "a.json", dashboard)))(t)[0]
	var got []string
	for _, q := range d.Queries {
		got = append(got, q.Text)
	}
	want := []string{
		`changes(seats{job=~"$job"}[5m]) > 0`, `seats{job=~"$job"}`, `members{job=~"$job", window="$window"} * ${price}`,
		`job:members:max{job=~"$job", window=~"$window"}`, `max by (job) (max_over_time(latency{job=~"$job"}[$__range]))`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("queries %q, want %q", got, want)
	}
	if q := d.Queries; !q[1].Instant || q[2].Instant || q[1].Panel != q[2].Panel || q[2].Panel == q[4].Panel || !strings.Contains(q[1].Where, `"One of $team"`) {
		t.Errorf("queries are of %+v", q)
	}
	got = nil
	for _, v := range d.Variables {
		expr, label := "", ""
		if v.Type == "query" {
			var err error
			if expr, label, err = v.Expression(); err != nil {
				t.Error(err)
			}
		}
		got = append(got, strings.Join([]string{v.Name, v.Opened(), expr, label}, ";"))
	}
	want = []string{
		"datasource;;;", `job;.+;group by (job) (seats{job=~"b,c"});job`, "team;a|b;max by (job) (seats);", "names;;;job",
		"window;;group by (window) (members);window", "range;30d;;", "price;20;;",
	}
	if !slices.Equal(got, want) {
		t.Errorf("variables %q, want %q", got, want)
	}
	if options := d.Variables[5].Options(); !slices.Equal(options, []string{"7d", "30d"}) {
		t.Errorf("options %q", options)
	}
	if err := d.Check(checker(t), []string{"one"}); err != nil {
		t.Error(err)
	}
}

// checker knows a rule as well.
func checker(t *testing.T) *drift.Checker {
	t.Helper()
	c := drift.NewChecker(known())
	rule := drift.Rule{Record: "job:members:max", Expr: "max by (job, window) (members)"}
	if err := rule.Check(c); err != nil {
		t.Error(err)
	}
	return c
}

func TestCheckFindsWhatIsWrongInADashboard(t *testing.T) {
	for _, test := range []struct{ old, new, problem string }{
		{`changes(seats`, `changes(chairs`, `annotations.list[0] "Restarts": no metric is chairs`},
		{`label_values(seats`, `label_values(chairs`, "variable job: no metric is chairs"},
		{`query_result(max`, `query_result(chairs + max`, "variable team: no metric is chairs"},
		{`label_values(job)`, `metrics(seats)`, "neither label_values nor query_result"},
		{`"current": {}`, `"current": {"value": "1d"}`, `no value of label window of members is window="1d"`},
		{`"seats{job=~\"$job\"}`, `"seats{job=~\"$jobs\"}`, `"One of $team".targets[0]: $jobs is not a variable`},
		{`max_over_time(latency`, `max_over_time(chairs`, `"Row".panels[0] "Two".targets[0]: no metric is chairs`},
		{`One of $team`, `One of $teams`, `title: $teams is not a variable`},
		{`${job:queryparam}`, `${jobs:queryparam}`, `links[0] "Back".url: ${jobs:queryparam} is not a variable`},
		{`/d/one`, `/d/two`, "/d/two: no dashboard has this UID"},
		{`members{job=~\"$job\"`, `members{job=\"$team\"`, `"One of $team".targets[1]: members{job="$team",window="$window"} does not choose by $job`},
		{`"seats{`, `"sum(rate(requests_total{job=~\"$job\"}[5m])) + sum(seats{job=~\"$job\"}) + seats{`, "seats{job=~\"$job\"} is added up over replicas"},
		{`"seats{`, `"count(seats{job=~\"$job\"}) + seats{`, "seats{job=~\"$job\"} is added up over replicas"},
		{`"seats{`, `"sum(increase(factory_users_joined_total{job=~\"$job\"}[1h])) + seats{`, "is added up over replicas"},
		{`, window=\"$window\"`, ``, "members{job=~\"$job\"} does not choose by $window"},
		{`, window=~\"$window\"`, ``, "job:members:max{job=~\"$job\"} does not choose by $window"},
		{`by (job) (max_over_time`, `by (le) (max_over_time`, "the panel shows label job, which is not kept"},
		{`$__range`, `$__ranges`, "$__ranges is not a variable"},
	} {
		text := strings.Replace(dashboard, test.old, test.new, 1)
		if text == dashboard {
			t.Errorf("%s is not in the dashboard", test.old)
		}
		d := must(drift.ReadDashboards(write(t, "a.json", text)))(t)[0]
		if err := d.Check(checker(t), []string{"one"}); err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s in place of %s: %v", test.new, test.old, err)
		}
	}
}

func TestReadRuleTestsAndMarkdownFindEveryExpression(t *testing.T) {
	tests := must(drift.ReadRuleTests(write(t, "rules_test.yml", `
tests:
  - name: one
    input_series: [{series: 'seats{job="a"}', values: 1x5}]
    promql_expr_test: [{expr: members, eval_time: 1m}]
`)))(t)
	markdown := must(drift.ReadMarkdown(write(t, "README.md", strings.ReplaceAll(`
Seats:
'''promql
sum(
  seats
)

members
'''
- likewise

  '''promql
  latency
  '''
'''sh
rm seats
'''
`, "'''", "```"))))(t)
	var got []string
	for _, e := range slices.Concat(tests, markdown) {
		got = append(got, e.Where+": "+strings.Join(strings.Fields(e.Text), " "))
	}
	want := []string{
		`rules_test.yml: one: seats{job="a"}`, `rules_test.yml: one: members`,
		`README.md: sum( seats )`, `README.md: members`, `README.md: latency`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestBuiltInVariablesAreThoseOfGrafana(t *testing.T) {
	filled, err := drift.Fill("$__rate_interval $__interval $__interval_ms $__range $__range_s $__range_ms",
		drift.BuiltIn(time.Minute, 250*time.Millisecond, time.Hour))
	if err != nil || filled != "1m 250ms 250 1h 3600 3600000" {
		t.Errorf("filled %q, %v", filled, err)
	}
}

// write makes a file for one test.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
