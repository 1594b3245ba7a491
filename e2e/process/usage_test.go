package process_test

import (
	"syscall"
	"testing"
	"time"

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
	begin := time.Now()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

// BenchmarkReading reads the analytics of 20,000 members who worked on each of 90 days.
// It reports the time and the requests of a reading, and the peak memory of a process
// with it and of one without.
func BenchmarkReading(b *testing.B) {
	const members = 20_000
	org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
	workers := make([]fakeapi.Worker, 0, members)
	for _, m := range org.Members() {
		workers = append(workers, fakeapi.Worker{ID: m.ID, Email: m.Email, On: func(time.Time) (fakeapi.Work, bool) {
			return fakeapi.Work{Clients: []string{"web"}, Sessions: 3, UserMessages: 40, AssistantMessages: 160, ToolCalls: 300, BillableTokens: 1_000_000}, true
		}})
	}
	for _, form := range []struct {
		name string
		rows fakeapi.RowForm
	}{
		{"a row a user and day", fakeapi.RowPerUserAndDay},
		{"users with a row a day", fakeapi.UserWithRowPerDay},
		{"a row a user", fakeapi.RowPerUser},
	} {
		b.Run(form.name, func(b *testing.B) {
			analytics := fakeapi.NewAnalytics(workers...)
			analytics.Choose(fakeapi.Unknowns{Rows: form.rows})
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
				var s harness.Samples
				for s = p.Scrape(b); s["factory_usage_up"] != 1; s = p.Scrape(b) {
					time.Sleep(100 * time.Millisecond)
				}
				b.ReportMetric(time.Since(begin).Seconds(), "reading-s")
				b.ReportMetric(s["factory_usage_api_requests_total"], "requests")
				b.ReportMetric(float64(p.Usage(b).PeakResident)/(1<<20), "peak-MiB")
				if used := p.Scrape(b)[`factory_users_used{window="90d"}`]; used != members {
					b.Fatalf("%g members used the product", used)
				}
				p.Stop(b)
			}
			b.ReportMetric(0, "ns/op") // of all of this together, which means nothing
		})
	}
}
