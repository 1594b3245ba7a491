package process

import (
	"net/http"
	"testing"

	"factory_exporter/internal/harness"
)

// Scrape asks for /metrics on a connection of its own. An answer that is not 200, or has
// a series twice, fails the test. The headers are names and values in turns.
func (p *Process) Scrape(t testing.TB, header ...string) harness.Samples {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status, body := Get(t, &client, p.URL()+"/metrics", header...)
	if status != http.StatusOK {
		t.Errorf("scrape: status %d: %.500s", status, body)
		return nil
	}
	return harness.Parse(t, body)
}

// Get asks for a URL and returns the status and the body. An error fails the test, and
// does not end it, so that any goroutine may call Get. The headers are names and values
// in turns.
func Get(t testing.TB, client *http.Client, url string, header ...string) (status int, body string) {
	t.Helper()
	status, _, body = harness.Fetch(t, client, http.MethodGet, url, header...)
	return status, body
}
