package process_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
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
	begin := time.Now()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

// Analytics of a large organization that are as large as can be, and more, leave the
// exporter below 64 MiB.
func TestLargeAnalyticsDoNotExhaustTheMemory(t *testing.T) {
	t.Parallel()
	const members = 20_000
	ids := func(first, n int) string { // rows as small as can be, with credits as large as can be
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"user_id":"u%d","sessions":1,"billable_tokens":9007199254740991},`, first+i)
		}
		return b.String()
	}
	const perPage = 25_000
	pages := [][]byte{}
	for i, end := range []string{`true,"next_cursor":"more"`, "false"} {
		rows := strings.TrimSuffix(ids(i*perPage, perPage), ",")
		pages = append(pages, []byte(`{"data":[`+rows+`],"meta":{"has_more":`+end+`}}`))
	}
	for name, behavior := range map[string]fakeapi.Behavior{
		"users without end": func(w http.ResponseWriter, r *http.Request, page []byte) {
			n, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
			rows := strings.TrimSuffix(ids(n, perPage), ",")
			fakeapi.Respond(200, "application/json", fmt.Sprintf(`{"data":[%s],"meta":{"has_more":true,"next_cursor":"%d"}}`, rows, n+perPage))(w, r, page)
		},
		"as many users as may be": func(w http.ResponseWriter, r *http.Request, page []byte) {
			body := pages[0]
			if r.URL.Query().Has("cursor") {
				body = pages[1]
			}
			fakeapi.Respond(200, "application/json", string(body))(w, r, page)
		},
		"pages of 4 MiB":     fakeapi.EditRows(func(row map[string]any) { row["languages"] = strings.Repeat("x", 40_000) }),
		"a page without end": fakeapi.Endless(),
	} {
		t.Run(name, func(t *testing.T) {
			org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
			api := fakeapi.NewServer(org, apiKey)
			var workers []fakeapi.Worker
			for _, m := range org.Members()[:400] {
				workers = append(workers, fakeapi.Worker{ID: m.ID, On: func(time.Time) (fakeapi.Work, bool) { return fakeapi.Work{Sessions: 1}, true }})
			}
			api.SetAnalytics(fakeapi.NewAnalytics(workers...))
			api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: behavior})
			p := start(t, serve(t, api), nil, "--collector.usage", "--collector.group-by=email_domain", "--factory.max-retries=0", "--log.level=debug")
			for i := 0; i < 600; i++ {
				p.Scrape(t)
				if strings.Contains(p.Stderr.String(), "Reading of the analytics") { // ended
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			p.Scrape(t)
			t.Logf("%s: %.1f MiB", name, float64(p.Usage(t).PeakResident)/(1<<20))
			t.Log(p.Stderr.String())
		})
	}
}

// BenchmarkReading reads the analytics of members who worked on each of 90 days. It
// reports the time and the requests of a first reading, and the peak memory of a process
// with it and of one without. A restart is another first reading.
func BenchmarkReading(b *testing.B) {
	for _, members := range []int{150, 2_000, 20_000} {
		org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
		workers := make([]fakeapi.Worker, 0, members)
		for i, m := range org.Members() {
			work := fakeapi.Work{Clients: []string{"web"}, Sessions: 3, UserMessages: 40, AssistantMessages: 160, ToolCalls: 300, Model: "plain", BillableTokens: 1_000_000 + i}
			workers = append(workers, fakeapi.Worker{ID: m.ID, Email: m.Email, On: func(time.Time) (fakeapi.Work, bool) { return work, true }})
		}
		for _, rowPerUser := range []bool{false, true} {
			b.Run(fmt.Sprintf("members=%d/row-per-user=%t", members, rowPerUser), func(b *testing.B) {
				analytics := fakeapi.NewAnalytics(workers...)
				analytics.Choose(fakeapi.Unknowns{RowPerUser: rowPerUser})
				server := fakeapi.NewServer(org, apiKey)
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
}
