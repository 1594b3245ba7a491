package drift_test

import (
	"errors"
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
			_, problems := drift.NewChecker(known()).Check(drift.Expression{Where: "somewhere", Text: test.expr})
			err := errors.Join(problems...)
			if err == nil {
				t.Fatal("found nothing wrong")
			}
			for _, want := range []string{"somewhere: ", test.problem, test.expr} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
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
			labels, problems := drift.NewChecker(known()).Check(drift.Expression{Text: expr})
			report(t, problems)
			got := []string{}
			for label := range labels {
				got = append(got, label)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("labels %q, want %q", got, want)
			}
		})
	}
}

func TestCheckNotesWhatIsUsed(t *testing.T) {
	checker := drift.NewChecker(known())
	checker.Check(drift.Expression{Text: `seats / on (job) sum by (job) ({__name__=~"lat.*", job="a"})`})
	var used []string
	for name := range checker.Used {
		used = append(used, name)
	}
	slices.Sort(used)
	if want := []string{"latency", "latency_bucket", "seats"}; !slices.Equal(used, want) {
		t.Errorf("used %q, want %q", used, want)
	}
}

func TestCheckKnowsTheSeriesThatRulesMake(t *testing.T) {
	rules := must(drift.ReadRules(write(t, "rules.yml", `
groups:
  - name: a
    rules:
      - record: job:seats:max
        expr: max by (job) (seats)
        labels: {team: platform}
      - alert: SeatsGone
        expr: sum by (instance) (seats) == 0
        labels: {severity: critical}
        annotations:
          summary: |
            {{ with printf "chairs{job=%q}" $labels.job | query }}{{ . | first | value }}{{ else }}
            {{ range query "sum by (team) (seats)" }}{{ $externalURL }}{{ end }}{{ end }}
            {{ if gt $value 1.0 }}{{ "stools" | query | first | value | printf "%.0f" }}{{ end }}
            {{ printf "100 %% of seats{job=%q}" $labels.job }}
`)))(t)
	checker := drift.NewChecker(known())
	report(t, checker.CheckRule(rules[0]))
	problems := errors.Join(checker.CheckRule(rules[1])...)
	for _, want := range []string{"SeatsGone, summary", "no metric is chairs", `no label "team"`, "no metric is stools"} {
		if problems == nil || !strings.Contains(problems.Error(), want) {
			t.Errorf("%v does not say %s", problems, want)
		}
	}

	for expr, wrong := range map[string]bool{
		`sum by (job, team) (job:seats:max)`:                                      false,
		`sum by (instance) (job:seats:max)`:                                       true,
		`ALERTS{alertname="SeatsGone", alertstate="firing", severity="critical"}`: false,
		`sum by (instance) (ALERTS_FOR_STATE{alertname=~"Seats.*"})`:              false,
		`ALERTS{alertname="ChairsGone"}`:                                          true,
		`sum by (job) (ALERTS)`:                                                   true,
	} {
		_, problems := checker.Check(drift.Expression{Text: expr})
		if (len(problems) > 0) != wrong {
			t.Errorf("%s: %v", expr, problems)
		}
	}
}

func TestReadDashboardsFindsEveryQuery(t *testing.T) {
	file := write(t, "a.json", `{
		"annotations": {"list": [{"name": "Restarts", "expr": "changes(seats[5m])"}, {"builtIn": 1, "name": "Alerts"}]},
		"templating": {"list": [
			{"name": "datasource", "type": "datasource", "query": "prometheus"},
			{"name": "job", "type": "query", "query": "label_values(seats{a=~\"b,c\"}, job)", "multi": true, "includeAll": true, "allValue": ".+", "current": {"value": ["$__all"]}},
			{"name": "team", "type": "query", "query": {"query": "query_result(max by (job) (seats))", "refId": "x"}, "current": {"value": ["a", "b"]}},
			{"name": "names", "type": "query", "query": "label_values(job)"},
			{"name": "window", "type": "custom", "query": "7d, month : 30d", "current": {"value": "30d"}},
			{"name": "price", "type": "textbox", "query": "20"}
		]},
		"panels": [
			{"title": "Text", "type": "text"},
			{"title": "One", "targets": [{"refId": "A", "expr": "seats{job=~\"$job\"}"}, {"refId": "B", "expr": "members"}]},
			{"title": "Row", "type": "row", "panels": [{"title": "Two", "targets": [{"refId": "A", "expr": "latency"}]}]}
		]}`)
	dashboards := must(drift.ReadDashboards(filepath.Join(filepath.Dir(file), "*.json")))(t)
	var got []string
	for _, e := range dashboards[0].Expressions() {
		got = append(got, e.Where+": "+e.Text)
	}
	want := []string{
		`a.json: panel "One", query A: seats{job=~"$job"}`,
		`a.json: panel "One", query B: members`,
		`a.json: panel "Two", query A: latency`,
		`a.json: annotation "Restarts": changes(seats[5m])`,
		`a.json: variable job: group by (job) (seats{a=~"b,c"})`,
		`a.json: variable team: max by (job) (seats)`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	filled, err := drift.Fill("$job ${team:regex} [[window]] ${price} $1", map[string]string{"1": "one"})
	if err == nil {
		t.Errorf("filled %q without values", filled)
	}
	values := dashboards[0].Values()
	values["1"] = "one"
	if filled, err = drift.Fill("$job ${team:regex} [[window]] ${price}$1", values); err != nil || filled != ".+ a|b 30d 20one" {
		t.Errorf("filled %q, %v", filled, err)
	}
}

func TestReadDashboardsRefusesAVariableThatItCannotRead(t *testing.T) {
	file := write(t, "a.json", `{"templating": {"list": [{"name": "job", "type": "query", "query": "metrics(seats)"}]}}`)
	if _, err := drift.ReadDashboards(file); err == nil {
		t.Error("no error")
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
	if err != nil || filled != "60000ms 250ms 250 3600000ms 3600 3600000" {
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
