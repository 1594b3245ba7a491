package process_test

import (
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
)

func TestSignalsEndIt(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := process.Serve(t, nil, exporter, "--demo")
			if up := p.Scrape(t)["factory_up"]; up != 1 {
				t.Errorf("factory_up is %g", up)
			}
			begin := time.Now()
			p.Signal(t, signal)
			if code := p.Wait(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s to stop", took)
			}
		})
	}
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
