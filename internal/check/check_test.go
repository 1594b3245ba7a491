package check_test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/apikey"
	"factory_exporter/internal/check"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// run checks an API and returns what it tells, with times as they are in the tests.
func run(t *testing.T, api http.Handler, usage bool, change ...func(*factoryapi.Config)) (told string, err error) {
	t.Helper()
	key, err := apikey.Parse(harness.Key, "environment variable KEY")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: harness.Serve(t, api).DialContext}
	defer transport.CloseIdleConnections()
	cfg := factoryapi.Config{URL: "http://localhost/base", Credentials: key, Transport: transport, UserAgent: "factory_exporter/1.2.3", RequestTimeout: time.Minute}
	for _, change := range change {
		change(&cfg)
	}
	var out strings.Builder
	err = check.Print(t.Context(), cfg, check.Options{
		Windows: harness.Windows("7d", "36h", "90d"), GroupBy: harness.Attributes(t, "metadata.team", "metadata.Cost", "email_domain"),
		ListingTimeout: time.Minute, Usage: usage,
	}, &out)
	harness.CheckNoKey(t, "the check", out.String(), harness.Key)
	return regexp.MustCompile(`read in [0-9.]+[mµ]?s`).ReplaceAllString(out.String(), "read in 9ms"), err
}

func yesterday() string { return time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly) }

// organization has members whose texts are found nowhere else.
func organization() (api *fakeapi.Server, secrets []string) {
	members := []fakeapi.User{
		{ID: "user_01ZZZZZZZZZZZZZZ1", Email: "zoe.zed@zz.example", FirstName: "Zzoe", LastName: "Zzed", CreatedAt: "2025-01-01T00:00:00Z", LastSignInAt: "2026-01-01T00:00:00Z", Metadata: map[string]string{"team": "zzteam", "cost": "zz1"}},
		{ID: "user_01ZZZZZZZZZZZZZZ2", Email: "yan@zz.example", CreatedAt: "2025-01-01T00:00:00Z", Metadata: map[string]string{"team": "zzteam", "cost": "zz2", "mail zoe.zed@zz.example": "zz3"}},
		{ID: "user_01ZZZZZZZZZZZZZZ3", Email: "xia@zz.example", CreatedAt: "zzlong ago", LastSignInAt: "zzlately"},
	}
	api = fakeapi.NewServer(fakeapi.NewOrganization(members...), harness.Key)
	work := fakeapi.OnDays(fakeapi.Work{Sessions: 1, BillableTokens: 5, Model: "zz-1"}, yesterday())
	analytics := fakeapi.NewAnalytics(fakeapi.UserWork{ID: members[0].ID, Email: "zoe.zed@zz.example", On: work}, fakeapi.UserWork{ID: "user_01ZZZZZZZZZZZZZZ9", On: work})
	analytics.SetLimits(fakeapi.Limits{Global: 5_000_000, OfUsers: map[string]int{"zoe.zed@zz.example": 1_000_000}})
	analytics.Choose(fakeapi.Unknowns{Reach: 20})
	api.SetAnalytics(analytics)
	return api, []string{"ZZZZ", "zz", "Zz"}
}

func below(api http.Handler) http.Handler { return http.StripPrefix("/base", api) }

func TestItTellsWhatItFindsAndNothingOfAnyMember(t *testing.T) {
	api, secrets := organization()
	got, err := run(t, below(api), true)
	reach := time.Now().UTC().AddDate(0, 0, -20).Format(time.DateOnly)
	want := strings.NewReplacer("YESTERDAY", yesterday(), "REACH", reach).Replace(`Version     factory_exporter/1.2.3
URL         http://localhost/base
Key         51 characters, from environment variable KEY
Members     3 on 1 page, read in 9ms; 1 have signed in, 1 never did
            timestamps that cannot be read: 1 createdAt, 1 lastSignInAt
Metadata    cost: 2 members, 2 values
            team: 2 members, 1 value
            mail (hidden): 1 member, 1 value
Group by    metadata.team: 1 of 3 members have no value
            metadata.Cost: 3 of 3 members have no value; there is metadata.cost
            email_domain: 0 of 3 members have no value
Usage       newest day YESTERDAY: users that activity counts: 2, that have a row: 2, and that are members: 1
            days are answered back to REACH at least
            windows without used and unused, because they are longer or not of whole days: 36h, 90d
Credits     limit of each user, if any: 5000000; users with a limit of their own: 1
Fields      as documented
Result      the exporter works with these flags
`)
	if err != nil || got != want {
		t.Errorf("error %v:\n%s\nwant\n%s", err, got, want)
	}
	for _, secret := range secrets {
		if strings.Contains(got, secret) {
			t.Errorf("it tells %q", secret)
		}
	}
}

func TestFieldsThatDifferFromTheDocumentsAreNamed(t *testing.T) {
	api, _ := organization()
	api.Inject(
		fakeapi.Fault{Path: fakeapi.UsersPath, Serve: fakeapi.Edit(func(page map[string]any) {
			page["total"] = "zz"
			users := page["users"].([]any)
			delete(users[0].(map[string]any), "createdAt")
			users[1].(map[string]any)["role"] = "zz"
			for _, user := range users {
				delete(user.(map[string]any), "firstName")
			}
		})},
		fakeapi.Fault{Path: fakeapi.AnalyticsPath + "activity", Serve: fakeapi.EditRows(func(row map[string]any) {
			delete(row, "user_messages")
			row["seats"] = 5
		})},
	)
	got, err := run(t, below(api), true)
	for _, want := range []string{
		"not documented, in 1 of 1: total of page", "missing in 1 of 3: createdAt of user", "not documented, in 1 of 3: role of user",
		"missing in 3 of 3: firstName of user", "user_messages of activity", "seats of activity",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not tell %q", want)
		}
	}
	if err != nil || strings.Contains(got, "zz") || strings.Contains(got, "as documented") {
		t.Errorf("error %v:\n%s", err, got)
	}
}

func TestARefusalSaysWhatItMeansAndNeeds(t *testing.T) {
	html := fakeapi.Respond(200, "text/html", "<html>Sign in, zoe.zed@zz.example</html>")
	for _, tt := range []struct {
		name  string
		fault fakeapi.Fault
		about []string
	}{
		{"401", fakeapi.Fault{Serve: fakeapi.Refuse(401, "unknown key "+harness.Key)}, []string{"HTTP 401", "came from environment variable KEY", "does not take the key"}},
		{"402", fakeapi.Fault{Serve: fakeapi.Refuse(402, "")}, []string{"HTTP 402", "plan"}},
		{"403", fakeapi.Fault{Serve: fakeapi.Refuse(403, "zoe.zed@zz.example (user_01ZZZZZZZZZZZZZZ1) is no Manager")}, []string{"HTTP 403", "is no Manager", "Manager or Owner"}},
		{"404", fakeapi.Fault{Serve: fakeapi.Status(404)}, []string{"HTTP 404", "base URL"}},
		{"429", fakeapi.Fault{Serve: fakeapi.Status(429)}, []string{"HTTP 429", "--collector.cache-ttl"}},
		{"500", fakeapi.Fault{Serve: fakeapi.Status(500)}, []string{"HTTP 500", "API itself"}},
		{"redirect", fakeapi.Fault{Serve: fakeapi.Status(302, "Location", "https://elsewhere.example/")}, []string{"HTTP 302", "elsewhere.example", "Give that URL"}},
		{"web page", fakeapi.Fault{Serve: html}, []string{"invalid_response", "web page", "--factory.url"}},
		{"rubbish", fakeapi.Fault{Serve: fakeapi.CutJSON()}, []string{"invalid_response", "open an issue"}},
		{"timeout", fakeapi.Fault{Serve: fakeapi.Hang()}, []string{"timeout", "--factory.request-timeout"}},
		{"reset", fakeapi.Fault{Serve: fakeapi.Reset()}, []string{"connection", "HTTPS_PROXY"}},
		{"usage 403", fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Refuse(403, "enterprise_required")}, []string{"Members     3 on", "cannot be read: read activity: HTTP 403", "Enterprise plan"}},
		{"users of a day", fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: fakeapi.Status(503)}, []string{"cannot be read", "HTTP 503"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api, secrets := organization()
			api.Inject(tt.fault)
			got, err := run(t, below(api), true, func(cfg *factoryapi.Config) {
				if tt.name == "timeout" {
					cfg.RequestTimeout = 200 * time.Millisecond
				}
			})
			if err == nil || !strings.Contains(err.Error(), "does not work with these flags") || !strings.HasSuffix(got, "\nResult      the exporter does not work with these flags\n") {
				t.Errorf("error %v:\n%s", err, got)
			}
			for _, want := range tt.about {
				if !strings.Contains(got, want) {
					t.Errorf("it does not tell %q:\n%s", want, got)
				}
			}
			for _, secret := range secrets {
				if strings.Contains(got, secret) {
					t.Errorf("it tells %q", secret)
				}
			}
		})
	}
}

func TestTransfersThatFailSayWhatToLookAt(t *testing.T) {
	for message, want := range map[string]string{
		"proxyconnect tcp: dial tcp 10.0.0.1:3128: connection refused":                     "HTTPS_PROXY does not let",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority": "SSL_CERT_FILE",
		"dial tcp: lookup api.factory.invalid: no such host":                               "DNS",
	} {
		got, err := run(t, http.NotFoundHandler(), false, func(cfg *factoryapi.Config) {
			cfg.Transport = harness.RoundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New(message) })
		})
		if err == nil || !strings.Contains(got, want) {
			t.Errorf("error %v, no %q:\n%s", err, want, got)
		}
	}
}

func TestWhatIsNotKnownIsSaidToBeUnknown(t *testing.T) {
	api, _ := organization()
	api.Inject(
		fakeapi.Fault{Path: fakeapi.LimitsPath, Serve: fakeapi.Status(403)},
		fakeapi.Fault{Path: fakeapi.AnalyticsPath + "activity", Serve: fakeapi.EditRows(func(row map[string]any) { row["daily_active_users"] = nil })},
	)
	got, err := run(t, below(api), true)
	for _, want := range []string{"Credits     limit of each user, if any: unknown; users with a limit of their own: unknown", "activity counts: unknown, that have a row: 2"} {
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("error %v, no %q:\n%s", err, want, got)
		}
	}
}

func TestEachPartEndsWithinTheListingTimeout(t *testing.T) {
	older := func(serve fakeapi.Behavior) fakeapi.Behavior {
		return func(w http.ResponseWriter, r *http.Request, page []byte) {
			if r.URL.Query().Get("startDate") == yesterday() {
				fakeapi.PageWith(http.StatusOK)(w, r, page)
				return
			}
			serve(w, r, page)
		}
	}
	for _, tt := range []struct {
		path    string
		spoil   func(fakeapi.Behavior) fakeapi.Behavior
		unknown []string
	}{
		{"", nil, []string{"Members     page 1 cannot be read", "Usage       the analytics cannot be read"}},
		{fakeapi.UsersPath, nil, []string{"Members     page 1 cannot be read"}},
		{fakeapi.AnalyticsPath, nil, []string{"Members     3 on", "Usage       the analytics cannot be read"}},
		{fakeapi.AnalyticsPath + "users", older, []string{"Members     3 on", "Usage       newest day", "it is not known how far the days reach back"}},
	} {
		for name, serve := range map[string]fakeapi.Behavior{"asks to wait for a day": fakeapi.Status(429, "Retry-After", "86400"), "hangs": fakeapi.Hang()} {
			t.Run(tt.path+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(time.Date(2026, 5, 31, 12, 0, 0, 0, time.UTC)))
					if tt.spoil != nil {
						serve = tt.spoil(serve)
					}
					api, _ := organization()
					api.Inject(fakeapi.Fault{Path: tt.path, Serve: serve})
					start := time.Now()
					got, err := run(t, below(api), true, func(cfg *factoryapi.Config) { cfg.MaxRetries = 100 })
					if took := time.Since(start); err == nil || took > 2*time.Minute {
						t.Errorf("error %v after %s", err, took)
					}
					for _, unknown := range tt.unknown {
						if !strings.Contains(got, unknown) {
							t.Errorf("it does not tell %q:\n%s", unknown, got)
						}
					}
				})
			})
		}
	}
}

func TestAReaderThatHasGoneIsNoErrorAndAFullDiskIs(t *testing.T) {
	api, _ := organization()
	transport := &http.Transport{DialContext: harness.Serve(t, api).DialContext}
	defer transport.CloseIdleConnections()
	asked := 0 // requests when nobody read any more
	print := func(fail error, line int) (written int, err error) {
		err = check.Print(t.Context(), factoryapi.Config{URL: "http://localhost", Credentials: harness.Static(harness.Key), Transport: transport},
			check.Options{Windows: harness.Windows("7d"), ListingTimeout: time.Minute, Usage: true}, harness.Writer(func(b []byte) (int, error) {
				if written == line {
					asked = cmp.Or(asked, api.Stats().Requests)
					return 0, fail
				}
				written++
				return len(b), nil
			}))
		return written, err
	}
	lines, err := print(nil, -1)
	if err != nil || lines < 8 {
		t.Fatalf("%d lines, error %v", lines, err)
	}
	for line := range lines {
		asked = 0
		if _, err := print(syscall.EPIPE, line); err != nil || api.Stats().Requests > asked {
			t.Errorf("line %d: without a reader, the error is %v after %d more requests", line, err, api.Stats().Requests-asked)
		}
		if _, err := print(syscall.ENOSPC, line); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("line %d: with a full disk, the error is %v", line, err)
		}
	}
}

func TestADayThatIsNotBelievedIsLogged(t *testing.T) {
	api, _ := organization()
	var log harness.Log
	day := time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly)
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: "user_01ZZZZZZZZZZZZZZ1", On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
	api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "activity", Serve: fakeapi.EditRows(func(row map[string]any) { row["daily_active_users"] = 100 })})
	_, err := run(t, below(api), true, func(cfg *factoryapi.Config) { cfg.Logger = log.Logger() })
	if err != nil || !strings.Contains(log.String(), "activity counts 100 active users on "+day) {
		t.Errorf("error %v, and the log is %q", err, log.String())
	}
}

func TestIdsThatDoNotMatchAreAFailure(t *testing.T) {
	api, _ := organization()
	work := fakeapi.OnDays(fakeapi.Work{Sessions: 1}, yesterday())
	api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: "other", On: work}))
	if got, err := run(t, below(api), true); err == nil || !strings.Contains(got, "the ids of the analytics are not those of the members") {
		t.Errorf("error %v:\n%s", err, got)
	}
}

// Nobody knows then whether the ids match, but for the days before. One that tells is enough.
func TestADayOnWhichOnlyAServiceAccountWorkedIsNoFailure(t *testing.T) {
	requests := 0
	for before := 2; before <= 7; before++ {
		api, _ := organization()
		api.SetAnalytics(fakeapi.NewAnalytics(
			fakeapi.UserWork{ID: "service", On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }},
			fakeapi.UserWork{ID: "user_01ZZZZZZZZZZZZZZ1", On: fakeapi.OnDays(fakeapi.Work{Sessions: 1}, time.Now().UTC().AddDate(0, 0, -before).Format(time.DateOnly))},
		))
		if got, err := run(t, below(api), true); err != nil || !strings.Contains(got, "newest day "+yesterday()+": users that activity counts: 1, that have a row: 1, and that are members: 0\n") {
			t.Errorf("error %v:\n%s", err, got)
		}
		if asked := api.Stats().Requests; asked != requests+1 && before > 2 {
			t.Errorf("%d requests where a member worked %d days ago, %d where %d days ago", asked, before, requests, before-1)
		}
		requests = api.Stats().Requests
	}
}

func TestAnInterruptedCheckSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	err := check.Print(ctx, factoryapi.Config{URL: "http://localhost", Credentials: harness.Static(harness.Key), Transport: harness.RoundTrip(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })},
		check.Options{ListingTimeout: time.Minute}, &out)
	if err == nil || !strings.Contains(err.Error(), "stopped before") || strings.Contains(out.String(), "Result") {
		t.Errorf("error %v:\n%s", err, out.String())
	}
}
