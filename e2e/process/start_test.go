package process_test

import (
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"factory_exporter/e2e/internal/process"
)

// The other tests end it with SIGTERM.
func TestInterruptEndsIt(t *testing.T) {
	t.Parallel()
	p := process.Serve(t, nil, exporter, "--demo")
	p.Scrape(t)
	stop(t, p, syscall.SIGINT)
}

func TestVersionIsToldEverywhere(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 1)
	p := start(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		w.WriteHeader(http.StatusForbidden) // once is enough
	})), nil)
	_, metrics := process.Get(t, http.DefaultClient, p.URL()+"/metrics")
	found := regexp.MustCompile(`factory_exporter_build_info{.*,revision="(.+)",tags=.*,version="(.+)"} 1`).FindStringSubmatch(metrics)
	if found == nil {
		t.Fatal("factory_exporter_build_info has no version or revision")
	}
	revision, version := found[1], found[2]
	_, landing := process.Get(t, http.DefaultClient, p.URL())
	for where, says := range map[string][2]string{
		"landing page": {landing, "(version=" + version + ", branch=, revision=" + revision + ")"},
		"log":          {p.Stderr.String(), " version=" + version + " revision=" + revision + " "},
		"User-Agent":   {<-agents, "factory_exporter/" + version},
	} {
		if !strings.Contains(says[0], says[1]) {
			t.Errorf("%s has no %q", where, says[1])
		}
	}
}
