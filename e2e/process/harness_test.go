// Package process_test tries the exporter as it is released: the built program, as a
// process of its own, with a real network and no Prometheus. Here is what a test within
// the program cannot show: signals and exit codes, TLS and proxies, the memory and the
// files that it takes up, its speed.
//
// A way in which the API can fail is a row of factoryapi/faults_test.go, which has a clock
// of its own and is much faster. Only what needs a real network is a row of
// network_test.go.
package process_test

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// exporter is the path of the program.
var exporter string

func TestMain(m *testing.M) {
	process.Main(m, func(path string) error { exporter = path; return nil })
}

// start starts the exporter for the API at a URL, until the test ends. More variables are
// for its environment ("NAME=value").
func start(t testing.TB, apiURL string, env []string, args ...string) *process.Process {
	t.Helper()
	keyFile := filepath.Join(t.TempDir(), "key")
	writeFile(t, keyFile, harness.Key+"\n")
	return process.Serve(t, env, exporter, append(args, "--factory.url="+apiURL, "--factory.api-key-file="+keyFile)...)
}

// stopTime is how long the exporter may take to end, whatever hangs.
const stopTime = 5 * time.Second

// stop ends the exporter with a signal, which has to be a success and to be quick.
func stop(t *testing.T, p *process.Process, signal os.Signal) {
	t.Helper()
	begin := time.Now()
	p.Signal(t, signal)
	if code, took := p.Wait(t), time.Since(begin); code != 0 || took > stopTime {
		t.Errorf("exit code %d after %s", code, took)
	}
}

// serve serves an API until the test ends, and returns its URL.
func serve(t testing.TB, api http.Handler) string {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL
}

// serveTLS serves an API over TLS until the test ends, and returns a variable of the
// environment that lets the exporter trust its certificate. This is for 127.0.0.1 and
// *.example.com.
func serveTLS(t *testing.T, api http.Handler) (server *httptest.Server, trust string) {
	t.Helper()
	server = httptest.NewUnstartedServer(api)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "authority.pem")
	writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server, "SSL_CERT_FILE=" + file
}

func writeFile(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newAPI is the API of an organization with 40 members. The i-th of them signed in i and
// a half days ago, so that no count changes while a test runs.
func newAPI() *fakeapi.Server {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
	const day = 24 * time.Hour
	var members []fakeapi.User
	for i := range 40 {
		members = append(members, fakeapi.User{
			ID: fmt.Sprintf("user_%02d", i), Email: fmt.Sprintf("p%d@acme.example", i),
			CreatedAt: ago(400 * day), LastSignInAt: ago(time.Duration(i)*day + day/2),
		})
	}
	return fakeapi.NewServer(fakeapi.NewOrganization(members...), harness.Key)
}

// checkListed checks a scrape whose listing was that of newAPI.
func checkListed(t *testing.T, name string, got harness.Samples) {
	t.Helper()
	got.Check(t, name, harness.Samples{
		"factory_up": 1, "factory_users": 40, "factory_users_never_signed_in": 0, "factory_listing_pages": 1,
		"factory_listing_duplicate_users": 0, "factory_users_last_sign_in_age_seconds_count": 40,
		`factory_users_active{window="1d"}`: 1, `factory_users_active{window="7d"}`: 7, `factory_users_active{window="30d"}`: 30, `factory_users_active{window="90d"}`: 40,
		`factory_users_idle{window="1d"}`: 39, `factory_users_idle{window="7d"}`: 33, `factory_users_idle{window="30d"}`: 10, `factory_users_idle{window="90d"}`: 0,
		`factory_users_new{window="90d"}`: 0,
	})
}

// checkNotListed checks a scrape without a listing.
func checkNotListed(t *testing.T, name string, got harness.Samples) {
	t.Helper()
	if up, ok := got["factory_up"]; !ok || up != 0 {
		t.Errorf("%s: factory_up is %g (there: %t), want 0", name, up, ok)
	}
	for series, value := range got {
		metric, _, _ := strings.Cut(series, "{")
		switch {
		case metric == "factory_users_joined_total", metric == "factory_users_left_total":
		case strings.HasPrefix(metric, "factory_user"), metric == "factory_listing_pages", metric == "factory_listing_timestamp_seconds":
			t.Errorf("%s: %s is %g without a listing", name, series, value)
		}
	}
}

// faults are ways in which the API can fail a listing.
func faults() map[string]fakeapi.Behavior {
	ok := fakeapi.PageWith(http.StatusOK)
	all := map[string]fakeapi.Behavior{
		"429 with Retry-After":     fakeapi.Status(429, "Retry-After", "1"),
		"500 with an endless body": fakeapi.EndlessError(500, harness.Key),
		"a redirect":               fakeapi.Status(302, "Location", "https://elsewhere.example/"),
		"HTML":                     fakeapi.Respond(200, "text/html", strings.Repeat("<p>Down</p>\n", 1000)),
		"{}":                       fakeapi.Respond(200, "application/json", "{}"),
		"a user without an id":     fakeapi.EditUsers(func(user map[string]any) { delete(user, "id") }),
		"a cursor that repeats":    fakeapi.Cursor("after+0/page=2#100%25"), // of a first page, over and over
		"a cursor of 1 MB":         fakeapi.Cursor(strings.Repeat("c", 1<<20)),
		"JSON cut half way":        fakeapi.CutJSON(),
		"only claims to be gzip":   fakeapi.WithHeader("Content-Encoding", "gzip", ok),
		"gzip cut half way":        fakeapi.CutCompressed(),
		"an endless body":          fakeapi.Endless(),
		"a body of 8 MiB":          fakeapi.Large(8 << 20),
		"a transfer cut half way":  fakeapi.CutTransfer(),
		"a reset":                  fakeapi.Reset(),
		"no HTTP":                  fakeapi.Raw("SSH-2.0-OpenSSH\r\n\r\n"),
		"an endless header":        fakeapi.EndlessHeader("X-Echo: " + harness.Key),
		"a hang":                   fakeapi.Hang(),
		"a hang in the body":       fakeapi.HangInBody(),
		"a byte at a time":         fakeapi.Trickle(10 * time.Millisecond),
	}
	for _, status := range []int{401, 429, 500} {
		all[fmt.Sprint(status)] = fakeapi.Status(status)
	}
	return all
}
