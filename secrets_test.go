package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

// The key file goes through all that may become of one while the program runs. Each key that was
// ever in use holds a part of testKey, which may be found nowhere in the end.
func TestKeyFileMayBeReplacedAndSpoilt(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, testKey)
	p := start(t, "--factory.api-key-file="+key, "--factory.url="+serveAPI(t, api), "--log.level=debug", "--factory.max-retries=0")

	var answers strings.Builder
	scrape := func() samples {
		_, header, body := fetch(t, http.MethodGet, p.url+"/metrics")
		fmt.Fprintln(&answers, header, body)
		return parseSamples(t, body)
	}
	for _, step := range []struct {
		name      string
		change    func()
		up        float64
		complains int // log lines so far that the file cannot be read
		returns   int // and that it can again
	}{
		{name: "as at the start", change: func() {}, up: 1},
		{name: "rotated, the old key still accepted", change: func() { writeFile(t, key, " "+testKey+"-2\n"); api.SetKey(testKey + "-2") }, up: 1},
		{name: "gone", change: func() { os.Remove(key) }, up: 1, complains: 1},
		{name: "still gone", change: func() {}, up: 1, complains: 1},
		{name: "empty", change: func() { writeFile(t, key, "") }, up: 1, complains: 1},
		{name: "with a line break inside", change: func() { writeFile(t, key, testKey[:30]+"\n"+testKey[30:]) }, up: 1, complains: 1},
		{name: "a directory", change: func() { os.Remove(key); mkdir(t, key) }, up: 1, complains: 1},
		{name: "back", change: func() { os.Remove(key); writeFile(t, key, testKey+"-2") }, up: 1, complains: 1, returns: 1},
		{name: "gone again", change: func() { os.Remove(key) }, up: 1, complains: 2, returns: 1},
		{name: "back with a key that the API rejects", change: func() { writeFile(t, key, testKey+"-3") }, up: 0, complains: 2, returns: 2},
		{name: "accepted", change: func() { api.SetKey(testKey + "-3") }, up: 1, complains: 2, returns: 2},
	} {
		step.change()
		if up := scrape()["factory_up"]; up != step.up {
			t.Errorf("%s: factory_up is %g, want %g", step.name, up, step.up)
		}
		log := p.stderr.String()
		if got := strings.Count(log, "Cannot read the API key file"); got != step.complains {
			t.Errorf("%s: %d complaints in the log, want %d", step.name, got, step.complains)
		}
		if got := strings.Count(log, "can be read again"); got != step.returns {
			t.Errorf("%s: the log tells %d times that the file is back, want %d", step.name, got, step.returns)
		}
	}
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nothing"} {
		_, header, body := fetch(t, http.MethodGet, p.url+path)
		fmt.Fprintln(&answers, header, body)
	}
	p.stop()
	checkNoKey(t, "an answer", answers.String())
	checkNoKey(t, "the log", p.stderr.String())
	checkNoKey(t, "stdout", p.stdout.String())
}

func TestKeyGoesToTheConfiguredHostAlone(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, fmt.Sprint(r.URL, r.Header))
	}))
	t.Cleanup(other.Close)
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	api.Inject(fakeapi.Fault{Serve: fakeapi.Redirect(other.URL + "/?key=" + testKey)})
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, api), "--log.level=debug")...)
	s := p.scrape(t)
	if s["factory_up"] != 0 || s[`factory_api_errors_total{status="302"}`] != 1 {
		t.Errorf("factory_up is %g after %g redirects, want 0 after 1", s["factory_up"], s[`factory_api_errors_total{status="302"}`])
	}
	p.stop()
	if len(elsewhere) > 0 {
		t.Errorf("another host was asked: %q", elsewhere)
	}
	checkNoKey(t, "the log", p.stderr.String())
}
