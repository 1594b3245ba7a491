package main

import (
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestWithoutTheFlagTheAnalyticsAreNotRead(t *testing.T) {
	api, server := usageAPI(t, 150)
	server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Status(500)})
	p := start(t, withKey(t, "--factory.url="+api)...)
	for range 3 {
		_, _, body := fetch(t, "GET", p.url+"/metrics")
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "factory_") && (strings.Contains(line, "usage") || strings.Contains(line, "used")) {
				t.Errorf("exposed: %s", line)
			}
		}
	}
	if stats := server.Stats(); stats.Spoilt != 0 || stats.Requests != 6 {
		t.Errorf("%d requests, %d for the analytics", stats.Requests, stats.Spoilt)
	}
}

// A reading that hangs delays neither a scrape nor the end of the process.
func TestReadingThatHangsWhenTheProcessEnds(t *testing.T) {
	api, server := usageAPI(t, 150)
	server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: fakeapi.Hang()})
	p := startItself(t, nil, withKey(t, "--factory.url="+api, "--collector.usage")...)
	first := p.scrape(t)
	if _, shown := first["factory_usage_sessions"]; shown || first["factory_up"] != 1 || first["factory_users"] != 150 || first["factory_usage_up"] != 0 {
		t.Errorf("the first scrape has %v", first)
	}
	for server.Stats().Spoilt == 0 { // until it hangs
		p.scrape(t)
	}
	start := time.Now()
	p.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the process took %s to end", took)
	}
	if n := server.Stats().MaxConcurrent; n > 2 {
		t.Errorf("%d requests at once", n)
	}
}

func TestDemoShowsThatSigningInIsNotUse(t *testing.T) {
	p := start(t, "--demo")
	var got samples
	for range 1000 {
		if got = p.scrape(t); got["factory_usage_up"] == 1 {
			got = p.scrape(t)
			break
		}
	}
	idle, unused := got[`factory_users_idle{window="30d"}`], got[`factory_users_unused{window="30d"}`]
	if used := got[`factory_users_used{window="30d"}`]; idle == unused || idle < 50 || unused < 50 || used < 300 || got["factory_usage_credits"] < 1e6 {
		t.Errorf("idle %v, unused %v, used %v, credits %v", idle, unused, used, got["factory_usage_credits"])
	}
	// Both differences are there: who works without signing in, and who signs in without working.
	idleIDs, _, _ := list(t, "--demo", "--idle=30d", "--format=csv")
	unusedIDs, _, _ := list(t, "--demo", "--unused=30d", "--format=csv")
	if worksOnly := strings.Count(idleIDs, ",20"); worksOnly == 0 {
		t.Errorf("nobody is idle and used:\n%s", idleIDs)
	}
	recent := time.Now().UTC().Format("2006-01")
	if !strings.Contains(unusedIDs, ","+recent) {
		t.Errorf("nobody is unused and signed in this month:\n%s", unusedIDs)
	}
	if !strings.Contains(p.stderr.String(), "collector.usage=true") {
		t.Errorf("the log does not tell that the analytics are read:\n%s", p.stderr.String())
	}
}

// BenchmarkReading reads the analytics of 20,000 members who worked on each of 90 days,
// in a process of its own. It reports the reading's time and requests, and the peak
// memory of the process with it and without.
func BenchmarkReading(b *testing.B) {
	const members = 20_000
	binary := buildExporter(b)
	org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
	var workers []fakeapi.Worker
	for _, m := range org.Members() {
		workers = append(workers, fakeapi.Worker{ID: m.ID, Email: m.Email, On: func(time.Time) (fakeapi.Work, bool) {
			return fakeapi.Work{Clients: []string{"web"}, Sessions: 3, UserMessages: 40, AssistantMessages: 160, ToolCalls: 300, BillableTokens: 1_000_000}, true
		}})
	}
	peakOf := func(b *testing.B, api string, args ...string) (*exporter, float64) {
		p := startProcess(b, binary, []string{"GOMAXPROCS=2"}, withKey(b, append(args, "--factory.url="+api, "--collector.max-stale=0s")...)...)
		scrapeOnce(b, p)
		scrapeOnce(b, p)
		return p, peakMemory(b, p.process.Process.Pid)
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
			server := fakeapi.NewServer(org, testKey)
			server.SetAnalytics(analytics)
			api := serveAPI(b, server)
			for b.Loop() {
				_, without := peakOf(b, api)
				began := time.Now()
				p, _ := peakOf(b, api, "--collector.usage")
				var s samples
				for s = p.scrape(b); s["factory_usage_up"] != 1; s = p.scrape(b) {
					time.Sleep(100 * time.Millisecond)
				}
				if s[`factory_usage_api_errors_total{status="invalid_response"}`] != 0 {
					b.Fatalf("the reading failed:\n%s", p.stderr)
				}
				b.ReportMetric(time.Since(began).Seconds(), "reading-s")
				b.ReportMetric(s["factory_usage_api_requests_total"], "requests")
				b.ReportMetric(peakMemory(b, p.process.Process.Pid), "peak-MiB")
				b.ReportMetric(without, "peak-without-MiB")
				if s = p.scrape(b); s[`factory_users_used{window="90d"}`] != members {
					b.Fatalf("%v members used the product", s[`factory_users_used{window="90d"}`])
				}
				p.stop()
			}
			b.ReportMetric(0, "ns/op") // of all of this together, which means nothing
		})
	}
}
