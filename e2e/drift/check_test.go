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
	}
}

func TestCheckFindsWhatIsNotExposed(t *testing.T) {
	for _, test := range []struct{ expr, problem string }{
		{`sum(seats`, "unclosed left parenthesis"},
		{`seats{job=}`, "unexpected"},
		{`sum_of(seats)`, "unknown function"},
		{`rate(seats)`, "expected type range vector"},

		{`seat`, "no metric is seat"},
		{`seats + increase(requests[5m])`, "no metric is requests"},
		{`max_over_time((seats - chairs)[1h:5m])`, "no metric is chairs"},
		{`{__name__=~"chairs|stools"}`, "no metric is"},
		{`absent(chairs)`, "no metric is chairs"},

		{`seats{window="7d"}`, `no label "window"`},
		{`members{window="7 d"}`, `no value of label window is window="7 d"`},
		{`members{window=~"1d|90d"}`, "no value of label window"},
		{`sum by (status) (seats)`, `sum: no label "status"`},
		{`sum without (status) (seats)`, `sum: no label "status"`},
		{`topk by (status) (3, seats)`, `topk: no label "status"`},
		{`sum by (window) (sum by (job) (members))`, `sum: no label "window"`},
		{`seats / on (status) requests_total`, `left side of /: no label "status"`},
		{`requests_total / on (status) seats`, `right side of /: no label "status"`},
		{`requests_total and on (status) seats`, `right side of and: no label "status"`},
		{`seats / ignoring (status) members`, `either side of /: no label "status"`},
		{`seats * on (job) group_left (status) listing_version`, `group side of *: no label "status"`},
		{`sum by (instance) (seats / on (job) latency)`, `sum: no label "instance"`},
		{`sum by (version) (seats * on (job) latency)`, `sum: no label "version"`},
		{`label_replace(seats, "to", "$1", "from", "(.*)")`, `label_replace: no label "from"`},
		{`label_join(seats, "to", "-", "job", "from")`, `label_join: no label "from"`},
		{`sum by (le) (histogram_quantile(0.9, latency_bucket))`, `sum: no label "le"`},
	} {
		t.Run(test.expr, func(t *testing.T) {
			_, err := drift.NewChecker(known()).Check(test.expr)
			if err == nil || !strings.Contains(err.Error(), test.problem) || !strings.Contains(err.Error(), test.expr) {
				t.Errorf("%v does not say %q", err, test.problem)
			}
		})
	}
}

func TestCheckAcceptsWhatIsExposed(t *testing.T) {
	for expr, want := range map[string][]string{
		`1 + 2`: {},
		`time() - seats{job=~"a|b", instance!=""}`:                                    {"instance", "job"},
		`members{window=~"7d|90d"}`:                                                   {"instance", "job", "window"},
		`members{window!="1d"} # a comment`:                                           {"instance", "job", "window"},
		`sum by (window) (max without (instance) (members))`:                          {"window"},
		`max by (job) (members{window="7d"}) / max by (job) (seats) > 0.9`:            {"job"},
		`seats and on (job) members`:                                                  {"instance", "job"},
		`seats or requests_total`:                                                     {"instance", "job", "status"},
		`seats / on (job) latency`:                                                    {"job"},
		`seats * on (job) group_left (version) listing_version`:                       {"instance", "job", "version"},
		`listing_version * on (job) group_right (version) seats`:                      {"instance", "job", "version"},
		`members / ignoring (window) group_left seats`:                                {"instance", "job", "window"},
		`topk by (status) (3, requests_total)`:                                        {"job", "status"},
		`count_values by (job) ("value", seats)`:                                      {"job", "value"},
		`histogram_quantile(0.9, sum by (le, job) (rate(latency_bucket[5m])))`:        {"job"},
		`sum by (team) (label_replace(seats, "team", "$1", "job", "(.*)-.*"))`:        {"team"},
		`sum by (both) (label_join(seats, "both", "-", "job", "instance"))`:           {"both"},
		`deriv((max by (job) (seats))[14d:1h]) * scalar(sum(members))`:                {"job"},
		`absent(seats{job="a"}) or present_over_time(members[1d] offset 7d) > bool 0`: {"instance", "job", "window"},
	} {
		t.Run(expr, func(t *testing.T) {
			labels := must(drift.NewChecker(known()).Check(expr))(t)
			if got := slices.Sorted(maps.Keys(labels)); !slices.Equal(got, want) {
				t.Errorf("labels %q, want %q", got, want)
			}
		})
	}
}

func TestCheckNotesWhatIsUsed(t *testing.T) {
	checker := drift.NewChecker(known())
	must(checker.Check(`seats / on (job) sum by (job) ({__name__=~"lat.*", job="a"})`))(t)
	used := slices.Sorted(maps.Keys(checker.Used))
	if want := []string{"latency", "latency_bucket", "seats"}; !slices.Equal(used, want) {
		t.Errorf("used %q, want %q", used, want)
	}
}

func TestCheckKnowsTheSeriesThatRulesMake(t *testing.T) {
	checker := drift.NewChecker(known())
	for _, rule := range must(drift.ReadRules(write(t, "rules.yml", `
groups:
  - name: a
    rules:
      - record: job:seats:max
        expr: max by (job) (seats)
        labels: {team: platform}
      - alert: SeatsGone
        expr: sum by (instance) (seats) == 0
        labels: {severity: critical}
`)))(t) {
		if err := rule.Check(checker); err != nil {
			t.Error(err)
		}
	}
	for expr, right := range map[string]bool{
		`sum by (job, team) (job:seats:max)`:                                      true,
		`sum by (instance) (job:seats:max)`:                                       false,
		`ALERTS{alertname="SeatsGone", alertstate="firing", severity="critical"}`: true,
		`sum by (instance) (ALERTS_FOR_STATE{alertname=~"Seats.*"})`:              true,
		`ALERTS{alertname="ChairsGone"}`:                                          false,
		`sum by (job) (ALERTS)`:                                                   false,
	} {
		if _, err := checker.Check(expr); (err == nil) != right {
			t.Errorf("%s: %v", expr, err)
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
	"annotations": {"list": [{"name": "Restarts", "expr": "changes(seats[5m]) > 0"}, {"builtIn": 1, "name": "Alerts"}]},
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
			{"refId": "B", "expr": "members{window=\"$window\"} * ${price}"}
		]},
		{"title": "Row", "type": "row", "panels": [{"title": "Two", "targets": [{"expr": "max_over_time(latency[$__range])"}]}]}
	]}`

func TestDashboardsAreReadAsGrafanaReadsThem(t *testing.T) {
	d := must(drift.ReadDashboards(write(t, "a.json", dashboard)))(t)[0]
	var got []string
	for _, q := range d.Queries {
		got = append(got, q.Text)
	}
	want := []string{"changes(seats[5m]) > 0", `seats{job=~"$job"}`, `members{window="$window"} * ${price}`, "max_over_time(latency[$__range])"}
	if !slices.Equal(got, want) {
		t.Errorf("queries %q, want %q", got, want)
	}
	if q := d.Queries; !q[1].Instant || q[2].Instant || q[1].Panel != q[2].Panel || q[2].Panel == q[3].Panel || !strings.Contains(q[1].Where, `"One of $team"`) {
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
	if err := d.Check(drift.NewChecker(known()), []string{"one"}); err != nil {
		t.Error(err)
	}
}

func TestCheckFindsWhatIsWrongInADashboard(t *testing.T) {
	for _, test := range []struct{ old, new, problem string }{
		{`changes(seats`, `changes(chairs`, `annotations.list[0] "Restarts": no metric is chairs`},
		{`label_values(seats`, `label_values(chairs`, "variable job: no metric is chairs"},
		{`(members, window)`, `(members, month)`, `variable window: group: no label "month"`},
		{`query_result(max`, `query_result(chairs + max`, "variable team: no metric is chairs"},
		{`label_values(job)`, `metrics(seats)`, "neither label_values nor query_result"},
		{`"current": {}`, `"current": {"value": "1d"}`, `no value of label window is window="1d"`},
		{`seats{job=~\"$job\"}`, `seats{job=~\"$jobs\"}`, `"One of $team".targets[0]: $jobs is not a variable`},
		{`{{ instance }}`, `{{replica}}`, `legend "{{job}} {{replica}}": no label "replica"`},
		{`max_over_time(latency`, `max_over_time(chairs`, `"Row".panels[0] "Two".targets[0]: no metric is chairs`},
		{`One of $team`, `One of $teams`, `title: $teams is not a variable`},
		{`${job:queryparam}`, `${jobs:queryparam}`, `links[0] "Back".url: ${jobs:queryparam} is not a variable`},
		{`/d/one`, `/d/two`, "/d/two: no dashboard has this UID"},
		{`$__range`, `$__ranges`, "$__ranges is not a variable"},
	} {
		text := strings.Replace(dashboard, test.old, test.new, 1)
		if text == dashboard {
			t.Errorf("%s is not in the dashboard", test.old)
		}
		d := must(drift.ReadDashboards(write(t, "a.json", text)))(t)[0]
		if err := d.Check(drift.NewChecker(known()), []string{"one"}); err == nil || !strings.Contains(err.Error(), test.problem) {
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
