package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

// usageAPI serves members and their analytics. Among them are people who work without
// signing in, and people who sign in and never work.
func usageAPI(t testing.TB, members int) (url string, server *fakeapi.Server) {
	now := time.Now()
	org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, now)...)
	var workers []fakeapi.Worker
	for i, m := range org.Members() {
		if i%4 == 0 {
			continue
		}
		every := []int{1, 3, 20, 120}[i/4%4] // days between two with work
		workers = append(workers, fakeapi.Worker{ID: m.ID, Email: m.Email, On: func(d time.Time) (fakeapi.Work, bool) {
			return fakeapi.Work{Sessions: 1}, (int(d.Unix()/86400)+i)%every == 0
		}})
	}
	analytics := fakeapi.NewAnalytics(workers...)
	analytics.Choose(fakeapi.Unknowns{IdleDays: true})
	server = fakeapi.NewServer(org, testKey)
	server.SetAnalytics(analytics)
	return serveAPI(t, server), server
}

// list runs the command users and returns what it prints.
func list(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log output
	err = run(t.Context(), append([]string{"users"}, args...), &out, &log)
	return out.String(), log.String(), err
}

func TestUsersAreThoseThatTheGaugeCounts(t *testing.T) {
	api, _ := usageAPI(t, 600)
	args := withKey(t, "--factory.url="+api, "--collector.usage")
	exporter := start(t, append(args, "--collector.window=7d", "--collector.window=30d", "--collector.window=90d")...)
	samples := scrapeUsage(t, exporter)
	for filter, metric := range map[string]string{
		"":                  "factory_users",
		"--never-signed-in": "factory_users_never_signed_in",
		"--idle=30d":        `factory_users_idle{window="30d"}`,
		"--idle=90d":        `factory_users_idle{window="90d"}`,
		"--active=7d":       `factory_users_active{window="7d"}`,
		"--new=90d":         `factory_users_new{window="90d"}`,
		"--used=7d":         `factory_users_used{window="7d"}`,
		"--used=90d":        `factory_users_used{window="90d"}`,
		"--unused=7d":       `factory_users_unused{window="7d"}`,
		"--unused=30d":      `factory_users_unused{window="30d"}`,
	} {
		want, ok := samples[metric]
		if !ok || want == 0 {
			t.Errorf("the exporter has %s %v, which shows nothing", metric, want)
		}
		for format, header := range map[string]int{"table": 1, "csv": 1, "json": 0} {
			with := append(slices.Clone(args), "--format="+format)
			if filter != "" {
				with = append(with, filter)
			}
			stdout, stderr, err := list(t, with...)
			if got := strings.Count(stdout, "\n") - header; err != nil || stderr != "" || float64(got) != want {
				t.Errorf("%s %s: %d lines, error %v, stderr %q, want the %v of %s", filter, format, got, err, stderr, want, metric)
			}
		}
	}
}

// scrapeUsage scrapes until the analytics have been read and members were counted with
// them.
func scrapeUsage(t testing.TB, p *exporter) samples {
	t.Helper()
	for range 1000 {
		if got := p.scrape(t); got["factory_usage_up"] == 1 {
			return p.scrape(t)
		}
	}
	t.Fatalf("the analytics were not read:\n%s", p.stderr)
	return nil
}

func TestUsersInEachFormat(t *testing.T) {
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	server := fakeapi.NewServer(fakeapi.NewOrganization(
		fakeapi.Member{ID: "u1", Email: "ann@acme.example", CreatedAt: "2025-01-02T03:04:05.678Z", LastSignInAt: "2026-01-02T01:00:00+01:00", Metadata: map[string]string{"team": "a, \"b\""}},
		fakeapi.Member{ID: "u2", Email: "bob@acme.example", CreatedAt: "2025-01-02T03:04:05Z"},
		fakeapi.Member{ID: "u3", Email: "", CreatedAt: "soon", LastSignInAt: "2025-12-31T00:00:00Z", Metadata: map[string]string{"team": "<x>"}},
		fakeapi.Member{ID: "u1", Email: "again@acme.example", CreatedAt: "2025-01-02T03:04:05Z"},
		fakeapi.Member{ID: "u0", Email: "never@acme.example", CreatedAt: "2025-01-02T03:04:05Z"},
		fakeapi.Member{ID: "u4", Email: "unknown@acme.example", CreatedAt: "2025-01-02T03:04:05Z", LastSignInAt: "of late"},
	), testKey)
	server.SetAnalytics(fakeapi.NewAnalytics(fakeapi.Worker{ID: "u2", On: fakeapi.OnDays(fakeapi.Work{Sessions: 1}, yesterday)}))
	args := withKey(t, "--factory.url="+serveAPI(t, server), "--collector.group-by=metadata.team", "--collector.usage")
	for format, want := range map[string]string{
		"table": "id  email                 created               last_sign_in          metadata.team  last_used\n" +
			"u0  never@acme.example    2025-01-02T03:04:05Z                                       \n" +
			"u2  bob@acme.example      2025-01-02T03:04:05Z                                       YESTERDAY\n" +
			"u3                                              2025-12-31T00:00:00Z  <x>            \n" +
			"u1  ann@acme.example      2025-01-02T03:04:05Z  2026-01-02T00:00:00Z  a, \"b\"         \n" +
			"u4  unknown@acme.example  2025-01-02T03:04:05Z                                       \n",
		"csv": "id,email,created,last_sign_in,metadata.team,last_used\n" +
			"u0,never@acme.example,2025-01-02T03:04:05Z,,,\n" +
			"u2,bob@acme.example,2025-01-02T03:04:05Z,,,YESTERDAY\n" +
			"u3,,,2025-12-31T00:00:00Z,<x>,\n" +
			"u1,ann@acme.example,2025-01-02T03:04:05Z,2026-01-02T00:00:00Z,\"a, \"\"b\"\"\",\n" +
			"u4,unknown@acme.example,2025-01-02T03:04:05Z,,,\n",
		"json": `{"id":"u0","email":"never@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":"","metadata.team":"","last_used":""}` + "\n" +
			`{"id":"u2","email":"bob@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":"","metadata.team":"","last_used":"YESTERDAY"}` + "\n" +
			`{"id":"u3","email":"","created":"","last_sign_in":"2025-12-31T00:00:00Z","metadata.team":"<x>","last_used":""}` + "\n" +
			`{"id":"u1","email":"ann@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":"2026-01-02T00:00:00Z","metadata.team":"a, \"b\"","last_used":""}` + "\n" +
			`{"id":"u4","email":"unknown@acme.example","created":"2025-01-02T03:04:05Z","last_sign_in":"","metadata.team":"","last_used":""}` + "\n",
	} {
		got, _, err := list(t, append(slices.Clone(args), "--format="+format)...)
		if want = strings.ReplaceAll(want, "YESTERDAY", yesterday); err != nil || got != want {
			t.Errorf("%s, error %v:\n%s\nwant\n%s", format, err, got, want)
		}
	}
	if got, _, err := list(t, append(slices.Clone(args), "--active=1d", "--format=json")...); err != nil || got != "" {
		t.Errorf("nobody: %q, error %v", got, err)
	}
	if got, _, err := list(t, withKey(t, "--factory.url="+serveAPI(t, server), "--format=csv", "--active=1d")...); err != nil || got != "id,email,created,last_sign_in\n" {
		t.Errorf("without usage: %q, error %v", got, err)
	}
}

// Text of a member is no command to a spreadsheet or a terminal.
func TestUsersWithHostileText(t *testing.T) {
	hostile := []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"https://elsewhere.example\")", "plain", "'quoted", "\x1b[31mred", "a\nb", ""}
	var members []fakeapi.Member
	for i, text := range hostile {
		members = append(members, fakeapi.Member{ID: fmt.Sprintf("u%02d", i), Email: text, CreatedAt: "2025-01-01T00:00:00Z", Metadata: map[string]string{"=team": text}})
	}
	args := withKey(t, "--factory.url="+serveAPI(t, fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)), "--collector.group-by=metadata.=team")

	got, _, err := list(t, append(slices.Clone(args), "--format=csv")...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil || len(lines) != 1+len(hostile) {
		t.Fatalf("%d lines, error %v", len(lines), err)
	}
	for i, line := range lines[1:] {
		want := hostile[i]
		if want != "" && strings.ContainsAny(want[:1], "=+-@\t\r\n") {
			want = "'" + want
		}
		// A reader of CSV drops the \r of \r\n only.
		if line[1] != want || line[4] != want {
			t.Errorf("%q is written as %q and %q, want %q", hostile[i], line[1], line[4], want)
		}
	}

	table, _, err := list(t, args...)
	if err != nil || strings.Count(table, "\n") != 1+len(hostile) || strings.ContainsAny(table, "\x1b\t\r") {
		t.Errorf("table, error %v:\n%q", err, table)
	}
	text, _, err := list(t, append(slices.Clone(args), "--format=json")...)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	for i := 0; ; i++ {
		var line map[string]string
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil || line["email"] != hostile[i] {
			t.Fatalf("line %d: %v, error %v", i, line, err)
		}
	}
}

func TestUsersPrintAllOrNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		fault fakeapi.Fault
		args  []string
		about []string
	}{
		"a page fails":              {fakeapi.Fault{Path: fakeapi.UsersPath, Page: 3, Serve: fakeapi.Status(500)}, nil, []string{"cannot list the members", "500"}},
		"the last page is cut":      {fakeapi.Fault{Path: fakeapi.UsersPath, Page: fakeapi.LastPage, Serve: fakeapi.CutJSON()}, nil, []string{"invalid_response"}},
		"the key is refused":        {fakeapi.Fault{Serve: fakeapi.Refuse(401, "unknown key "+testKey)}, nil, []string{"401", "redacted"}},
		"a page hangs":              {fakeapi.Fault{Path: fakeapi.UsersPath, Page: 2, Serve: fakeapi.Hang()}, []string{"--factory.listing-timeout=300ms"}, []string{"timeout"}},
		"the analytics are refused": {fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Refuse(403, "insufficient_role")}, []string{"--collector.usage"}, []string{"cannot read the analytics", "insufficient_role", "Enterprise plan", "Manager or Owner"}},
		"a page of usage fails":     {fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Page: 2, Serve: fakeapi.Status(500)}, []string{"--collector.usage", "--unused=7d"}, []string{"cannot read the analytics", "500"}},
		"the window is too long":    {fakeapi.Fault{Page: 1 << 20}, []string{"--collector.usage", "--unused=50y"}, []string{"--unused=50y", "2026-01-14"}},
	} {
		t.Run(name, func(t *testing.T) {
			api, server := usageAPI(t, 350)
			server.Inject(tt.fault)
			stdout, stderr, err := list(t, append(withKey(t, "--factory.url="+api, "--factory.max-retries=0"), tt.args...)...)
			if err == nil || stdout != "" || stderr != "" {
				t.Fatalf("error %v, stderr %q, stdout:\n%s", err, stderr, stdout)
			}
			for _, about := range tt.about {
				if !strings.Contains(err.Error(), about) {
					t.Errorf("%q does not name %q", err, about)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			checkNoKey(t, "error", err.Error())
		})
	}
}

func TestUsersBadFlagIsOneLineThatNamesTheCause(t *testing.T) {
	for args, want := range map[string][]string{
		"--idle=30d --new=30d":         {"--idle", "--new", "at most one"},
		"--never-signed-in --idle=30d": {"--idle", "--never-signed-in", "at most one"},
		"--idle=30d --idle=7d":         {"idle", "repeated"},
		"--idle=soon":                  {"--idle=soon", "duration"},
		"--idle=0d":                    {"--idle=0d", "zero"},
		"--unused=30d":                 {"--unused=30d", "--collector.usage"},
		"--used=7d":                    {"--used=7d", "--collector.usage"},
		"--collector.usage --used=36h": {"--used=36h", "whole days"},
		"--format=xml":                 {"--format=xml", "table, csv, json"},
		"--web.listen-address=:1":      {"--web.listen-address"},
		"--collector.window=1d":        {"--collector.window"},
		"--collector.per-user":         {"--collector.per-user"},
		"--factory.url=http://api.factory.ai --idle=1d": {"--factory.url", "https"},
		"somebody": {`unexpected argument "somebody"`},
		"--factory.api-key-file=/nonexistent/factory-key": {"--factory.api-key-file", "/nonexistent/factory-key"},
		"--collector.group-by=team":                       {"--collector.group-by=team"},
	} {
		stdout, _, err := list(t, strings.Fields(args)...)
		if err == nil || stdout != "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, stdout %q", args, err, stdout)
			continue
		}
		for _, want := range want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not name %q", args, err, want)
			}
		}
	}
	var stdout, stderr output
	if err := run(t.Context(), []string{"--demo", "users"}, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), "before its flags") {
		t.Errorf("the command behind its flags: %v", err)
	}
}

func TestUsersHelp(t *testing.T) {
	stdout, _, err := list(t, "--help")
	for _, want := range []string{"usage: factory_exporter users", "--idle", "--format", "--factory.api-key-file", "--collector.group-by", "collector.usage", "--log.level", "]demo"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("help lacks %q", want)
		}
	}
	for _, other := range []string{"web.", "collector.window", "collector.per-user", "collector.cache-ttl"} {
		if strings.Contains(stdout, other) {
			t.Errorf("help has %q", other)
		}
	}
	if err != nil {
		t.Error(err)
	}
	var out, log output
	if err := run(t.Context(), []string{"--help"}, &out, &log); err != nil || !strings.Contains(out.String(), "--web.listen-address") || !strings.Contains(out.String(), "users --help") {
		t.Errorf("error %v, help:\n%s", err, out.String())
	}
}

func TestUsersFlagsFromTheEnvironment(t *testing.T) {
	api, _ := usageAPI(t, 50)
	t.Setenv("FACTORY_EXPORTER_FACTORY_URL", api)
	t.Setenv("FACTORY_EXPORTER_NEVER_SIGNED_IN", "true")
	t.Setenv("FACTORY_EXPORTER_FORMAT", "json")
	t.Setenv("FACTORY_EXPORTER_WEB_LISTEN_ADDRESS", "") // is of the exporter alone
	got, _, err := list(t, withKey(t)...)
	if err != nil || !strings.Contains(got, `"last_sign_in":""`) || strings.Contains(got, `"last_sign_in":"2`) {
		t.Errorf("error %v, %s", err, got)
	}
}

func TestUsersOfTheDemo(t *testing.T) {
	for _, filter := range []string{"--unused=30d", "--idle=30d"} {
		got, _, err := list(t, "--demo", filter, "--format=csv")
		if err != nil || !strings.HasPrefix(got, "id,email,created,last_sign_in,last_used\n") || strings.Count(got, "\n") < 20 {
			t.Errorf("%s: error %v, %d lines", filter, err, strings.Count(got, "\n"))
		}
	}
}
