package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"factory_exporter/e2e/drift"
)

// Nobody works at weekends, and the analytics have no row of such a day. The row of
// another one is there from noon of the next day on, for one of two replicas.
func TestEachDayOfUseIsShownOnce(t *testing.T) {
	t.Parallel()
	const day, step, days = 24 * time.Hour, 6 * time.Hour, 40
	works := func(n int) bool { return n%7 != 2 && n%7 != 3 } // since a Thursday, the first of January
	credits := func(n int) int { return 10 * (n + 1) }
	var newest, taken []string
	for now := time.Duration(0); now < days*day; now += step {
		n := int((now-day/2)/day) - 1
		for n >= 0 && !works(n) {
			n--
		}
		if n < 0 || now-time.Duration(n+1)*day > 3*day {
			newest, taken = append(newest, "_"), append(taken, "_")
			continue
		}
		newest, taken = append(newest, fmt.Sprint(n*86400)), append(taken, fmt.Sprint(credits(n)))
	}
	file := "tests:\n  - interval: 6h\n    input_series:\n"
	series := func(name string, values ...string) {
		file += fmt.Sprintf("      - {series: '%s', values: '%s'}\n", name, strings.Join(values, " "))
	}
	for _, name := range []string{`credits{job="factory", `, `credits_by_model{model="large", job="factory", `} {
		series("factory_usage_"+name+`instance="a"}`, taken...)
		series("factory_usage_"+name+`instance="behind"}`, "9999x160")
	}
	attribute := `factory_users_credits_by_attribute{job="factory", attribute="team", value="web", window=`
	series(attribute+`"1d", instance="a"}`, taken...)
	series(attribute+`"1d", instance="behind"}`, "9999x160")
	series(attribute+`"7d", instance="a"}`, "1x160")
	series(`factory_usage_day_timestamp_seconds{job="factory", instance="a"}`, newest...)
	series(`factory_usage_day_timestamp_seconds{job="factory", instance="behind"}`, "-864000x160")
	series(`job:factory_usage_credits:month_to_date{job="factory"}`, "1000x160")

	file += "    promql_expr_test:\n"
	shows := func(panel string, at time.Duration, sample string) {
		file += fmt.Sprintf("      - {expr: %q, eval_time: %s, exp_samples: [%s]}\n", "sum("+panel+")", at, sample)
	}
	model, team, month := panelQuery(t, "Credits a day by model"), panelQuery(t, "Credits a day by $attribute"), panelQuery(t, "Where the month will end")
	for _, zone := range []time.Duration{-8 * time.Hour, 0, 5*time.Hour + 30*time.Minute, 12 * time.Hour} {
		for n := 7; n < 14; n++ {
			sample := ""
			if works(n) {
				sample = fmt.Sprintf("{labels: '{}', value: %d}", credits(n))
			}
			midnight := time.Duration(n)*day - zone // Grafana asks for the days of its user
			shows(model, midnight, sample)
			shows(team, midnight, sample)
		}
	}
	fourWeeks := 0
	for n := range 28 {
		if works(n) {
			fourWeeks += credits(n)
		}
	}
	// The newest day is the 29th.
	shows(month, 29*day+18*time.Hour, fmt.Sprintf("{labels: '{}', value: %v}", 1000+2*float64(fourWeeks)/28))

	passes(t, file)
}

// passes has promtool run a file of tests.
func passes(t *testing.T, file string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tests.yml")
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(exec.Command(programs.promtool, "test", "rules", path)); err != nil {
		t.Error(err)
	}
}

// panelQuery returns the first query of a panel, for the job factory.
func panelQuery(t *testing.T, title string) string {
	t.Helper()
	dashboards, err := drift.ReadDashboards("../dashboards/factory-organization.json")
	if err != nil {
		t.Fatal(err)
	}
	values := drift.BuiltIn(time.Minute, time.Minute, time.Hour)
	values["cluster"], values["namespace"], values["job"], values["attribute"] = "", "", "factory", "team"
	for _, query := range dashboards[0].Queries {
		if strings.HasSuffix(query.Panel, fmt.Sprintf("%q", title)) {
			return fill(t, query.Where, query.Text, values)
		}
	}
	t.Fatalf("no panel is %q", title)
	return ""
}
