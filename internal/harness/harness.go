// Package harness is what the tests of several packages share.
package harness

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// Main runs the tests of a package.
func Main(m *testing.M) { os.Exit(Suite{m}.Run()) }

// Suite is all tests of a package. They see no environment of the program but what they
// set themselves, and leave no goroutine over.
type Suite struct{ *testing.M }

// Run returns the exit status.
func (s Suite) Run() int {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "FACTORY_") {
			os.Unsetenv(name)
		}
	}
	// Built with the race detector, the program would sleep for a second before it ends.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	code := s.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Key is the API key of all tests that do not say otherwise. It is so long that a part of
// it may get through where the whole would be seen.
const Key = "fk-9s8Yq0vJ3mZrT5xWc7LbNd2HgKpEuAiR4oVtQfMj6wXz1CyB"

// CheckNoKey fails if text has a key or a telling part of it.
func CheckNoKey(t testing.TB, where, text, key string) {
	t.Helper()
	telling := min(8, len(key))
	for i := range len(key) - telling + 1 {
		if at := strings.Index(text, key[i:i+telling]); at >= 0 {
			t.Errorf("%s has %d bytes or more of the key: %q", where, telling, text[max(0, at-100):min(len(text), at+100)])
			return
		}
	}
}

// WriteFile puts text in the file at path, which nobody else may read, and returns path.
func WriteFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Serve serves handler on a network in memory until the test ends.
func Serve(t testing.TB, handler http.Handler) *Pipe {
	t.Helper()
	return ServeWith(t, &http.Server{Handler: handler})
}

// ServeWith lets server serve on a network in memory until the test ends, with TLS if it
// is configured for that.
func ServeWith(t testing.TB, server *http.Server) *Pipe {
	t.Helper()
	pipe := NewPipe()
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(pipe, "", "")
		} else {
			served <- server.Serve(pipe)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return pipe
}

// Static is a key that does not change.
type Static string

func (s Static) Key(context.Context) string { return string(s) }

// Client returns a client of an API that is served until the test ends. Its key is Key
// unless cfg has another one, and so for its URL. With a Transport it needs no API.
func Client(t testing.TB, api http.Handler, cfg factoryapi.Config) *factoryapi.Client {
	t.Helper()
	cfg.URL = cmp.Or(cfg.URL, "http://localhost")
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{DialContext: Serve(t, api).DialContext}
	}
	if cfg.Credentials == nil {
		cfg.Credentials = Static(Key)
	}
	client, err := factoryapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// RoundTrip is an [http.RoundTripper] that is one function.
type RoundTrip func(*http.Request) (*http.Response, error)

func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Users returns users as the client reads them.
func Users(t testing.TB, users ...fakeapi.User) (all []factoryapi.User) {
	t.Helper()
	client := Client(t, fakeapi.NewServer(fakeapi.NewOrganization(users...), Key), factoryapi.Config{})
	for page, err := range client.Pages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
	}
	return all
}

// Windows returns windows with these labels.
func Windows(labels ...string) (windows []census.Window) {
	for _, label := range labels {
		length, err := model.ParseDuration(label)
		if err != nil {
			panic(err) // it stands in a test
		}
		windows = append(windows, census.Window{Label: label, Length: time.Duration(length)})
	}
	return windows
}

// Attributes parses names.
func Attributes(t testing.TB, names ...string) (attributes []census.Attribute) {
	t.Helper()
	for _, name := range names {
		attribute, err := census.ParseAttribute(name)
		if err != nil {
			t.Fatal(err)
		}
		attributes = append(attributes, attribute)
	}
	return attributes
}

// Fetch sends a request with a header of these names and values, and returns the whole
// answer, unpacked.
func Fetch(t testing.TB, client *http.Client, method, url string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer response.Body.Close()
	reader := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if reader, err = gzip.NewReader(response.Body); err != nil {
			t.Error(err)
			return 0, nil, ""
		}
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// Samples are the values of a scrape by their series, such as
// `factory_users_active{window="7d"}`.
type Samples map[string]float64

// Parse reads the text format.
func Parse(t testing.TB, text string) Samples {
	t.Helper()
	s := Samples{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil || space < 0 {
			t.Errorf("not a sample: %q", line)
			continue
		}
		if _, ok := s[line[:space]]; ok {
			t.Errorf("twice in a scrape: %s", line[:space])
		}
		s[line[:space]] = value
	}
	return s
}

// Absent in samples to check stands for no such series. None of those is negative.
const Absent = -1

// Check compares some of the samples.
func (s Samples) Check(t testing.TB, when string, want Samples) {
	t.Helper()
	for series, value := range want {
		switch got, ok := s[series]; {
		case value == Absent && ok:
			t.Errorf("%s: %s is %v, want none", when, series, got)
		case value != Absent && !ok:
			t.Errorf("%s: no %s, want %v", when, series, value)
		case value != Absent && got != value:
			t.Errorf("%s: %s is %v, want %v", when, series, got, value)
		}
	}
}

// Sum adds the samples of one name up.
func (s Samples) Sum(name string) (sum float64) {
	for series, value := range s {
		if strings.HasPrefix(series, name+"{") {
			sum += value
		}
	}
	return sum
}
