package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/config"
)

func TestWithoutTheFlagTheAnalyticsAreNotRead(t *testing.T) {
	api, server := usageAPI(t, 150)
	server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Status(500)})
	p := start(t, withKey(t, "--factory.url="+api)...)
	for range 3 {
		_, _, body := p.get(t, "/metrics")
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
	got := p.scrapeUsage(t)
	idle, unused := got[`factory_users_idle{window="30d"}`], got[`factory_users_unused{window="30d"}`]
	if used := got[`factory_users_used{window="30d"}`]; idle == unused || idle < 50 || unused < 50 || used < 300 || got["factory_usage_credits"] < 1e6 {
		t.Errorf("idle %v, unused %v, used %v, credits %v", idle, unused, used, got["factory_usage_credits"])
	}
	// Both differences are there: who works without signing in, and who signs in without
	// working.
	list := func(filter string) string {
		var stdout output
		if err := run(t.Context(), parse(t, config.Users, "--demo", filter, "--format=csv"), &stdout, io.Discard); err != nil {
			t.Error(err)
		}
		return stdout.String()
	}
	idleIDs, unusedIDs := list("--idle=30d"), list("--unused=30d")
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
