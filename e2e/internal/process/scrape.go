package process

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Samples are the values in an answer to a scrape, by their series as the text format
// spells them: `factory_users_active{window="7d"}`.
type Samples map[string]float64

// Scrape asks for /metrics on a connection of its own. An answer that is not 200, or has
// a series twice, fails the test. The headers are names and values in turns.
func (p *Process) Scrape(t testing.TB, header ...string) Samples {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status, body := Get(t, &client, p.URL()+"/metrics", header...)
	if status != http.StatusOK {
		t.Errorf("scrape: status %d: %.500s", status, body)
		return nil
	}
	return ParseSamples(t, body)
}

// Get asks for a URL and returns the status and the body. An error fails the test, and
// does not end it, so that any goroutine may call Get. The headers are names and values
// in turns.
func Get(t testing.TB, client *http.Client, url string, header ...string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

// ParseSamples reads the text format. A line that is not a sample, or a series that is
// there twice, fails the test.
func ParseSamples(t testing.TB, body string) Samples {
	t.Helper()
	samples := Samples{}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The exporter writes no timestamps, so the value is behind the last space.
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil || at < 0 {
			t.Errorf("not a sample: %q", line)
			continue
		}
		if _, ok := samples[line[:at]]; ok {
			t.Errorf("twice in a scrape: %s", line[:at])
		}
		samples[line[:at]] = value
	}
	return samples
}
