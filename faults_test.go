package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// One row for each kind of fault shows that it reaches the page and the log as it should,
// and that the exporter recovers. All that can go wrong with an answer is a row of
// factoryapi/faults_test.go. What needs a real network (TLS, proxies, resets) is in
// e2e/process. Answers echo the key wherever there is room for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	echo := "Bearer " + harness.Key
	for _, test := range []struct {
		name   string
		serve  fakeapi.Behavior // strikes the second of three pages
		status string           // that factory_api_errors_total has
		tries  float64          // of the page
	}{
		{"a key that is rejected", fakeapi.WithHeader("X-Echo", echo, fakeapi.Refuse(401, "no access for "+echo)), "401", 1},
		{"a limit of requests", fakeapi.WithHeader("Retry-After", "0", fakeapi.Refuse(429, echo)), "429", 2},
		{"a server that fails", fakeapi.Respond(502, "text/html", "<h1>"+echo+"</h1>"), "502", 2},
		{"a redirect to another host", fakeapi.Status(302, "Location", "https://elsewhere.example/?"+harness.Key), "302", 1},
		{"a page of HTML", fakeapi.Respond(200, "text/html", echo), "invalid_response", 1},
		{"a list that goes round", fakeapi.CursorAgain(), "invalid_response", 1},
		{"a transfer that breaks off", fakeapi.CutTransfer(), "connection", 2},
		{"no answer", fakeapi.Hang(), "timeout", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(5, 1, time.Now())...), harness.Key)
			timeout := "30s" // which a busy machine does not reach
			if test.status == "timeout" {
				timeout = "1s"
			}
			p := start(t, withKey(t, "--factory.url="+serveAPI(t, api), "--factory.page-size=2", "--collector.per-user", "--log.level=debug",
				"--factory.max-retries=1", "--factory.request-timeout="+timeout)...)
			errs := fmt.Sprintf("factory_api_errors_total{status=%q}", test.status)
			requests, failures := 0.0, 0.0
			check := func(when string, up, users, tries, failed float64) {
				t.Helper()
				status, header, body := p.get(t, "/metrics")
				harness.CheckNoKey(t, "the page", fmt.Sprint(header, body), harness.Key)
				if status != http.StatusOK {
					t.Errorf("%s: status %d", when, status)
				}
				requests, failures = requests+tries, failures+failed
				s := harness.Parse(t, body)
				s.Check(t, when, harness.Samples{"factory_up": up, "factory_users": users, "factory_listing_in_progress": 0})
				if s.Sum("factory_api_requests_total")+s["factory_api_requests_total"] != requests || s[errs] != failures && failures > 0 || s.Sum("factory_api_errors_total") != failures {
					t.Errorf("%s: %v", when, s)
				}
			}
			strike := func(times int) { api.Inject(fakeapi.Fault{Page: 2, Times: times, Serve: test.serve}) }

			strike(0)
			check("from the start", 0, harness.Absent, 1+test.tries, test.tries)
			api.ClearFaults()
			check("repaired", 1, 5, 3, 0)
			strike(0)
			check("again", 0, 5, 1+test.tries, test.tries) // the last good listing is young enough
			api.ClearFaults()
			strike(1)
			if test.tries > 1 {
				check("once, which is retried", 1, 5, 4, 1)
			} else {
				check("once", 0, 5, 2, 1)
			}
			check("repaired again", 1, 5, 3, 0)

			p.stop()
			log := p.stderr.String()
			harness.CheckNoKey(t, "the log", log, harness.Key)
			begun := strings.Count(log, "level=error")
			if ended := strings.Count(log, "Listing the members works again"); begun != 2 || ended != 2 {
				t.Errorf("%d lines tell of the two failures, %d of their ends:\n%s", begun, ended, log)
			}
		})
	}
}
