package process_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// A reading of the analytics that hangs delays neither a scrape nor the end of the
// process.
func TestReadingThatHangsWhenTheProcessEnds(t *testing.T) {
	t.Parallel()
	api := newAPI()
	api.SetAnalytics(fakeapi.NewAnalytics())
	api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Hang()})
	p := start(t, serve(t, api), nil, "--collector.usage")
	checkListed(t, "first scrape", p.Scrape(t))
	for api.Stats().Faulted == 0 { // until the reading hangs
		p.Scrape(t)
	}
	if up, ok := p.Scrape(t)["factory_usage_up"]; up != 0 || !ok {
		t.Errorf("factory_usage_up is %g, there: %t", up, ok)
	}
	stop(t, p, syscall.SIGTERM)
}

// Whatever the analytics of a large organization send, the exporter takes less than
// 64 MiB.
func TestLargeAnalyticsDoNotExhaustTheMemory(t *testing.T) {
	const (
		members = 20_000
		perPage = 20_000 // so many rows are just below 4 MiB
	)
	row := `{"user_id":"%d","sessions":1,"billable_tokens":9007199254740991,"padding":"` + strings.Repeat("x", 125) + `"}`
	page := func(first int, end string) string {
		var rows strings.Builder
		for i := range perPage {
			fmt.Fprintf(&rows, row+",", first+i)
		}
		return `{"data":[` + strings.TrimSuffix(rows.String(), ",") + `],"meta":{"has_more":` + end + `}}`
	}
	first, second := page(0, `true,"next_cursor":"more"`), page(perPage, "false")
	pages := func(w http.ResponseWriter, r *http.Request, _ []byte) {
		body := first
		if r.URL.Query().Has("cursor") {
			body = second
		}
		fakeapi.Respond(200, "application/json", body)(w, r, nil)
	}
	endless := func(w http.ResponseWriter, r *http.Request, _ []byte) {
		n, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		fakeapi.Respond(200, "application/json", page(n, fmt.Sprintf(`true,"next_cursor":"%d"`, n+perPage)))(w, r, nil)
	}
	for name, tt := range map[string]struct {
		serve fakeapi.Behavior
		end   string // part of the line of the log at the end of the reading
	}{
		"as many users as may be": {pages, "the days of use need more than 9 MiB"},
		"users without end":       {endless, "more than 40000 rows of users"},
		"a page without end":      {fakeapi.Endless(), "larger than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...), harness.Key)
			api.SetAnalytics(fakeapi.NewAnalytics(fakeapi.UserWork{ID: "somebody", On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }}))
			api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: tt.serve})
			p := start(t, serve(t, api), nil, "--collector.usage", "--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--factory.max-retries=0")
			process.Eventually(t, func() error {
				if p.Scrape(t); !strings.Contains(p.Stderr.String(), tt.end) {
					return fmt.Errorf("logs %s", p.Stderr)
				}
				return nil
			})
			if peak := p.Usage(t).PeakResident; peak > memoryLimit {
				t.Errorf("the exporter took %.1f MiB", float64(peak)/(1<<20))
			} else {
				t.Logf("the exporter took %.1f MiB at most", float64(peak)/(1<<20))
			}
		})
	}
}

// BenchmarkReading reads the analytics of members who worked on each of 90 days. It
// reports the time and the requests of a first reading, and the peak memory of a process
// with it and of one without. A restart is another first reading.
func BenchmarkReading(b *testing.B) {
	for _, members := range []int{150, 2_000, 20_000} {
		org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
		workers := make([]fakeapi.UserWork, 0, members)
		for i, m := range org.Users() {
			work := fakeapi.Work{Clients: []string{"web"}, Sessions: 3, UserMessages: 40, AssistantMessages: 160, ToolCalls: 300, Model: "plain", BillableTokens: 1_000_000 + i}
			workers = append(workers, fakeapi.UserWork{ID: m.ID, Email: m.Email, On: func(time.Time) (fakeapi.Work, bool) { return work, true }})
		}
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			analytics := fakeapi.NewAnalytics(workers...)
			server := fakeapi.NewServer(org, harness.Key)
			server.SetAnalytics(analytics)
			api := serve(b, server)
			for b.Loop() {
				plain := start(b, api, nil)
				plain.Scrape(b)
				plain.Scrape(b)
				b.ReportMetric(float64(plain.Usage(b).PeakResident)/(1<<20), "peak-without-MiB")
				plain.Stop(b)

				begin := time.Now()
				p := start(b, api, nil, "--collector.usage")
				for p.Scrape(b)["factory_usage_up"] != 1 {
					time.Sleep(100 * time.Millisecond)
				}
				b.ReportMetric(time.Since(begin).Seconds(), "reading-s")
				s := p.Scrape(b)
				b.ReportMetric(s["factory_usage_api_requests_total"], "requests")
				b.ReportMetric(float64(p.Usage(b).PeakResident)/(1<<20), "peak-MiB")
				if used := s[`factory_users_used{window="90d"}`]; used != float64(members) {
					b.Fatalf("%g members used the product", used)
				}
				p.Stop(b)
			}
			b.ReportMetric(0, "ns/op") // of all of this together, which means nothing
		})
	}
}
