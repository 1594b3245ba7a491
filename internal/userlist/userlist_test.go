package userlist_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"factory_exporter/collector"
	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
	"factory_exporter/internal/userlist"
)

// Among the members are some who work without signing in, and some who sign in and never
// work.
func TestTheMembersAreThoseThatTheGaugeCounts(t *testing.T) {
	members := fakeapi.Generate(600, 1, time.Now())
	var workers []fakeapi.UserWork
	for i, m := range members {
		if every := []int{0, 1, 3, 20}[i%4]; every > 0 { // days between two with work
			workers = append(workers, fakeapi.UserWork{ID: m.ID, On: func(d time.Time) (fakeapi.Work, bool) {
				return fakeapi.Work{Sessions: 1}, (int(d.Unix()/86400)+i)%every == 0
			}})
		}
	}
	api := serve(members...)
	api.SetAnalytics(fakeapi.NewAnalytics(workers...))
	client := harness.Client(t, api, factoryapi.Config{})
	users := collector.New(client, collector.Config{Census: census.Config{Windows: harness.Windows("7d", "90d")}, Analytics: client})
	defer users.Close()
	var samples harness.Samples
	for range 100 {
		text, err := testutil.CollectAndFormat(users, expfmt.TypeTextPlain,
			"factory_users", "factory_users_never_signed_in", "factory_users_idle", "factory_users_active", "factory_users_new", "factory_users_used", "factory_users_unused")
		if err != nil {
			t.Fatal(err)
		}
		if samples = harness.Parse(t, string(text)); samples[`factory_users_used{window="90d"}`] > 0 {
			break
		}
	}
	for metric, options := range map[string]userlist.Options{
		"factory_users":                      {},
		"factory_users_never_signed_in":      {NeverSignedIn: true},
		`factory_users_idle{window="7d"}`:    {Filters: []userlist.Filter{filter("idle", "7d")}},
		`factory_users_active{window="7d"}`:  {Filters: []userlist.Filter{filter("active", "7d")}},
		`factory_users_new{window="90d"}`:    {Filters: []userlist.Filter{filter("new", "90d")}},
		`factory_users_used{window="7d"}`:    {Filters: []userlist.Filter{filter("used", "7d")}, Usage: true},
		`factory_users_unused{window="90d"}`: {Filters: []userlist.Filter{filter("unused", "90d")}, Usage: true},
	} {
		want := samples[metric]
		if got := len(ids(t, api, options)); float64(got) != want || got == 0 {
			t.Errorf("%d members, but %s is %v", got, metric, want)
		}
	}
}

func TestAllThatIsGivenMustHold(t *testing.T) {
	ago := func(days int) string { return time.Now().AddDate(0, 0, -days).Format(time.RFC3339) }
	team := func(name string) map[string]string { return map[string]string{"team": name} }
	api := serve(
		fakeapi.User{ID: "idle-30", Email: "a@Acme.example", CreatedAt: ago(200), LastSignInAt: ago(40), Metadata: team("web")},
		fakeapi.User{ID: "idle-90", Email: "b@acme.example", CreatedAt: ago(200), LastSignInAt: ago(100), Metadata: team("=web")},
		fakeapi.User{ID: "never", Email: "c@other.example", CreatedAt: ago(100), Metadata: team("(none)")},
		fakeapi.User{ID: "never-new", Email: "d@acme.example", CreatedAt: ago(10)},
		fakeapi.User{ID: "active", Email: "e@acme.example", CreatedAt: ago(200), LastSignInAt: ago(1), Metadata: team("web")},
	)
	for _, tt := range []struct {
		options userlist.Options
		want    string
	}{
		{userlist.Options{}, "never never-new idle-90 idle-30 active"},
		{userlist.Options{Filters: []userlist.Filter{filter("idle", "30d")}}, "never idle-90 idle-30"},
		{userlist.Options{Filters: []userlist.Filter{filter("idle", "30d"), filter("active", "60d")}}, "idle-30"},
		{userlist.Options{Filters: []userlist.Filter{filter("active", "60d"), filter("idle", "30d")}}, "idle-30"},
		{userlist.Options{Filters: []userlist.Filter{filter("new", "120d")}, NeverSignedIn: true}, "never never-new"},
		{userlist.Options{Filters: []userlist.Filter{filter("idle", "30d")}, Matches: []userlist.Match{match(t, "metadata.team=web")}}, "idle-30"},
		{userlist.Options{Matches: []userlist.Match{match(t, "metadata.team==web")}}, "idle-90"},
		{userlist.Options{Matches: []userlist.Match{match(t, "metadata.team=(none)")}}, "never never-new"},
		{userlist.Options{Matches: []userlist.Match{match(t, "email_domain=ACME.example"), match(t, "metadata.team=web")}}, "idle-30 active"},
		{userlist.Options{Matches: []userlist.Match{match(t, "metadata.team=Web")}}, ""},
	} {
		if got := strings.Join(ids(t, api, tt.options), " "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.options, got, tt.want)
		}
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	for want, options := range map[string]userlist.Options{
		"--used=7d needs --collector.usage":   {Filters: []userlist.Filter{filter("idle", "7d"), filter("used", "7d")}},
		"--unused=36h: not a window of whole": {Filters: []userlist.Filter{filter("unused", "36h")}, Usage: true},
	} {
		if _, err := userlist.New(options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	for text, want := range map[string]string{
		"metadata.team":         "not ATTRIBUTE=VALUE",
		"metadata.team=":        "(none)",
		"team=web":              "metadata.KEY",
		"metadata.team=(other)": "sum of many values",
	} {
		if _, err := userlist.ParseMatch(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestAllOrNothing(t *testing.T) {
	unused := userlist.Options{Filters: []userlist.Filter{filter("unused", "7d")}, Usage: true}
	tooLong := userlist.Options{Filters: []userlist.Filter{filter("unused", "50y")}, Usage: true}
	for name, tt := range map[string]struct {
		fault   fakeapi.Fault
		options userlist.Options
		about   []string
	}{
		"a page fails":              {fakeapi.Fault{Path: fakeapi.UsersPath, Page: 3, Serve: fakeapi.Status(500)}, userlist.Options{}, []string{"cannot list the members", "500"}},
		"the last page is cut":      {fakeapi.Fault{Path: fakeapi.UsersPath, Page: fakeapi.LastPage, Serve: fakeapi.CutJSON()}, userlist.Options{}, []string{"invalid_response"}},
		"the key is refused":        {fakeapi.Fault{Serve: fakeapi.Refuse(401, "unknown key "+harness.Key)}, userlist.Options{}, []string{"401", "redacted"}},
		"a page hangs":              {fakeapi.Fault{Path: fakeapi.UsersPath, Page: 2, Serve: fakeapi.Hang()}, userlist.Options{ListingTimeout: 100 * time.Millisecond}, []string{"timeout"}},
		"the analytics are refused": {fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Refuse(403, "insufficient_role")}, userlist.Options{Usage: true}, []string{"cannot read the analytics", "insufficient_role", "Manager or Owner"}},
		"a page of usage fails":     {fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: fakeapi.Status(500)}, unused, []string{"cannot read the analytics", "500"}},
		"the window is not known":   {fakeapi.Fault{Page: 1 << 20}, tooLong, []string{"--unused=50y", "2026-01-14"}},
	} {
		t.Run(name, func(t *testing.T) {
			members := fakeapi.Generate(350, 1, time.Now())
			api := serve(members...)
			api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: members[0].ID, On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
			api.Inject(tt.fault)
			stdout, stderr, err := list(t, api, tt.options)
			if err == nil || stdout != "" || stderr != "" {
				t.Fatalf("error %v, stderr %q, stdout:\n%s", err, stderr, stdout)
			}
			for _, about := range tt.about {
				if !strings.Contains(err.Error(), about) {
					t.Errorf("%q does not name %q", err, about)
				}
			}
			harness.CheckNoKey(t, "error", err.Error(), harness.Key)
		})
	}
}

func TestAListThatShiftedIsPrintedAndSaysSo(t *testing.T) {
	twice := fakeapi.User{ID: "u1", Email: "first@acme.example", CreatedAt: "2025-01-01T00:00:00Z"}
	again := twice
	again.Email = "again@acme.example"
	stdout, stderr, err := list(t, serve(twice, again), userlist.Options{Format: "csv"})
	if err != nil || strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, "first@") ||
		!strings.Contains(stderr, "shifted") || !strings.Contains(stderr, "twice: 1\n") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("error %v, stderr %q, stdout:\n%s", err, stderr, stdout)
	}
}

func TestAnInterruptEndsIt(t *testing.T) {
	api := serve(fakeapi.Generate(350, 1, time.Now())...)
	ctx, cancel := context.WithCancel(t.Context())
	api.Inject(fakeapi.Fault{Page: 2, Serve: fakeapi.Refuse(500, "")}, fakeapi.Fault{Page: 1, Serve: fakeapi.PageWith(200)})
	client := harness.Client(t, api, factoryapi.Config{MaxRetries: 5, Observe: func(string) func(error) {
		return func(err error) {
			if err != nil {
				cancel() // while it waits to try again
			}
		}
	}})
	err := newList(t, userlist.Options{}).Print(ctx, client, nil, io.Discard, io.Discard)
	if requests := api.Stats().Requests; err == nil || !strings.Contains(err.Error(), "stopped before the list was complete") || requests != 2 {
		t.Errorf("error %v after %d requests", err, requests)
	}
}

// The windows of the analytics are asked for, and no others.
func TestOnlyTheDaysOfTheWindowAreRead(t *testing.T) {
	members := fakeapi.Generate(3, 1, time.Now())
	api := serve(members...)
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: members[0].ID, On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
	requests := func(filters ...userlist.Filter) int {
		before := api.Stats().Requests
		ids(t, api, userlist.Options{Usage: true, Filters: filters})
		return api.Stats().Requests - before
	}
	if short, long := requests(filter("idle", "300d"), filter("used", "7d")), requests(filter("idle", "1d")); short >= long-20 {
		t.Errorf("%d requests for a window of 7 days, %d for the columns of 30", short, long)
	}
}

// Otherwise the window would look too long.
func TestADayThatIsNotBelievedIsLogged(t *testing.T) {
	members := fakeapi.Generate(3, 1, time.Now())
	api := serve(members...)
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: members[0].ID, On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
	day := time.Now().UTC().AddDate(0, 0, -5).Format(time.DateOnly)
	api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: fakeapi.OnDay(day, fakeapi.Edit(func(page map[string]any) { page["data"] = []any{} }))})
	var log harness.Log
	l := newList(t, userlist.Options{Usage: true, Filters: []userlist.Filter{filter("unused", "7d")}})
	err := l.Print(t.Context(), harness.Client(t, api, factoryapi.Config{}), log.Logger(), io.Discard, io.Discard)
	if err == nil || strings.Contains(err.Error(), "too long") || !strings.Contains(log.String(), "activity counts 1 active users on "+day) {
		t.Errorf("error %v, and the log is %q", err, log.String())
	}
}

// Otherwise everybody would look as if their seats could be reclaimed.
func TestIdsThatDoNotMatchAreAnError(t *testing.T) {
	api := serve(fakeapi.Generate(3, 1, time.Now())...)
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: "other", On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
	stdout, _, err := list(t, api, userlist.Options{Usage: true, Filters: []userlist.Filter{filter("unused", "7d")}})
	if err == nil || stdout != "" || !strings.Contains(err.Error(), "not one user of the analytics is a member (days read: 7)") || !strings.Contains(err.Error(), "a longer window") {
		t.Errorf("error %v, stdout %q", err, stdout)
	}
}
