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
	if stats := server.Stats(); stats.Faulted != 0 || stats.Requests != 6 {
		t.Errorf("%d requests, %d for the analytics", stats.Requests, stats.Faulted)
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
	// Both differences are there: who works without signing in, and who signs in without
	// working.
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
