package factoryapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestRequestsGoToTheEndpointBelowTheBaseURL(t *testing.T) {
	for base, want := range map[string]string{
		"http://localhost":                         "/api/v0/organization/users",
		"http://localhost/":                        "/api/v0/organization/users",
		"http://127.0.0.1:8080/proxies/factory/":   "/proxies/factory/api/v0/organization/users",
		"http://[::1]/escaped%2Fslash%20and%20so/": "/escaped%2Fslash%20and%20so/api/v0/organization/users",
	} {
		t.Run(base, func(t *testing.T) {
			api := newScript(pageBefore(`"1"`, ""), lastPage(""))
			client := newClient(t, serve(t, api), factoryapi.Config{URL: base})
			if _, err := list(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			for _, r := range api.all() {
				if got := r.URL.EscapedPath(); got != want {
					t.Errorf("path %s, want %s", got, want)
				}
			}
		})
	}
}

func TestRequestsSayWhoAsksForWhat(t *testing.T) {
	requests := record(organizationOf(3))
	client := newClient(t, serve(t, requests), factoryapi.Config{PageSize: 2, UserAgent: "factory_exporter/1.2.3"})
	if _, err := list(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	for i, r := range requests.all() {
		for name, want := range map[string]string{
			"Authorization": "Bearer " + key,
			"User-Agent":    "factory_exporter/1.2.3",
			"Accept":        "application/json",
		} {
			if got := r.Header.Values(name); !slices.Equal(got, []string{want}) {
				t.Errorf("request %d, %s: %q, want %q", i+1, name, got, want)
			}
		}
		if r.Method != http.MethodGet || r.ContentLength != 0 {
			t.Errorf("request %d is a %s with a body of %d bytes", i+1, r.Method, r.ContentLength)
		}
		if got, want := r.URL.Query().Has("cursor"), i > 0; got != want {
			t.Errorf("request %d has a cursor: %t", i+1, got)
		}
	}
}

func TestACanceledListing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  fakeapi.Behavior // for the second page
		cancel time.Duration    // after the first page
		failed []string         // the requests that count as such
	}{
		{"between two pages", fakeapi.Replace("", ""), 0, nil},
		{"before the header", fakeapi.Hang(), time.Second, nil},
		{"within the body", fakeapi.HangInBody(), time.Second, nil},
		{"within the body of an error", hangInError(http.StatusForbidden), time.Second, nil},
		{"before the next try", fakeapi.Status(429, "Retry-After", "60"), time.Second, []string{"429"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(20, fakeapi.Fault{Page: 2, Serve: tt.serve})
				var seen observer
				client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 10, MaxRetries: 3, Observe: seen.observe})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var start time.Time
				var failure error
				for _, err := range client.Pages(ctx) {
					if err != nil {
						failure = err
						continue
					}
					start = time.Now()
					if tt.cancel == 0 {
						cancel()
					} else {
						time.AfterFunc(tt.cancel, cancel)
					}
				}
				if !errors.Is(failure, context.Canceled) || errors.As(failure, new(*factoryapi.Error)) {
					t.Errorf("error %v, want context.Canceled alone", failure)
				}
				if got := time.Since(start); got != tt.cancel {
					t.Errorf("ended after %s, want %s", got, tt.cancel)
				}
				if got := seen.failures(); !slices.Equal(got, tt.failed) {
					t.Errorf("observed failures %q, want %q", got, tt.failed)
				}
			})
		})
	}
}

// keys supplies another key each time.
type keys struct{ supplied int }

func (k *keys) Key(context.Context) string {
	k.supplied++
	return fmt.Sprint("key", k.supplied)
}

func TestAListingKeepsTheKeyThatItBeganWith(t *testing.T) {
	api := newScript(pageBefore(`"1"`, ""), lastPage(""))
	client := newClient(t, serve(t, api), factoryapi.Config{Credentials: new(keys)})
	for range 2 {
		if _, err := list(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	var sent []string
	for _, r := range api.all() {
		sent = append(sent, r.Header.Get("Authorization"))
	}
	// The second listing begins behind the script's end.
	if want := []string{"Bearer key1", "Bearer key1", "Bearer key2"}; !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

func TestDeprecationIsLoggedOnce(t *testing.T) {
	for name, value := range map[string]string{"Deprecation": "@1796083200", "Sunset": "Tue, 01 Dec 2026 00:00:00 GMT"} {
		log := new(harness.Log)
		api := organizationOf(3, fakeapi.Fault{Serve: fakeapi.WithHeader(name, value, fakeapi.PageWith(http.StatusOK))})
		client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 1, Logger: log.Logger()})
		for range 2 {
			if _, err := list(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, value) || !strings.Contains(text, "api/v0/organization/users") {
			t.Errorf("%s: the log is %q, want one line with %q and the endpoint", name, text, value)
		}
	}
}

func TestTheKeyIsScrubbedFromADeprecation(t *testing.T) {
	for _, name := range []string{"Deprecation", "Sunset"} {
		log := new(harness.Log)
		const apiKey = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWN0b3J5In0.7Hq2Zt9Xw4Vb6Nm8"
		client := newClient(t, nil, factoryapi.Config{Credentials: static(apiKey), Logger: log.Logger(), Transport: answer{
			status: http.StatusOK, header: http.Header{name: {"Bearer " + apiKey}}, body: lastPage(""),
		}})
		if _, err := list(t.Context(), client); err != nil || !strings.Contains(log.String(), "Bearer") {
			t.Errorf("%s: error %v, and the log is %q", name, err, log.String())
		}
		harness.CheckNoKey(t, "the log", log.String(), apiKey)
	}
}

// What is not HTTP may be the page alone, without a header or without the empty line after
// it.
func TestNothingOfAPageIsQuotedThatIsWhereTheHeaderShouldBe(t *testing.T) {
	for about, before := range map[string]string{
		"malformed HTTP response":    "",
		"malformed HTTP version":     "HTTP/",
		"malformed HTTP status code": "HTTP/1.1 ",
		"malformed MIME header":      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
	} {
		for _, page := range []string{`{"email":"ada@acme.example"}`, `"email": "ada@acme.example"`, `{"email": 200, "of": "ada@acme.example"}`} {
			api := organizationOf(1)
			api.Inject(fakeapi.Fault{Serve: fakeapi.Raw(before + page + "\r\n\r\n")})
			err := askOnce(t.Context(), newClient(t, serve(t, api), factoryapi.Config{}))
			if got := apiError(t, err); got.Reason() != "connection" || !strings.Contains(got.Message, "malformed") || strings.Contains(got.Message, "ada") || strings.Contains(got.Message, "email") {
				t.Errorf("%s: error %q", about, got)
			}
		}
	}
}

func TestATimeoutOfTheTransportIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(1, fakeapi.Fault{Serve: fakeapi.Hang()})
		network := serve(t, api)
		transport := &http.Transport{DialContext: network.DialContext, ResponseHeaderTimeout: time.Second}
		client := newClient(t, network, factoryapi.Config{Transport: transport})
		if err := askOnce(t.Context(), client); apiError(t, err).Reason() != "timeout" {
			t.Errorf("error %v", err)
		}
	})
}

func TestTheListingsDeadlineIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(100)
		api.SetLatency(time.Second)
		var seen observer
		client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 1, MaxRetries: 3, Observe: seen.observe})
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		start := time.Now()
		users, err := list(ctx, client)
		if got := apiError(t, err); got.Reason() != "timeout" || len(users) != 10 {
			t.Errorf("%d users, error %v", len(users), err)
		}
		if got := time.Since(start); got != 10500*time.Millisecond {
			t.Errorf("ended after %s", got)
		}
		if got := seen.failures(); !slices.Equal(got, []string{"timeout"}) {
			t.Errorf("observed failures %q", got)
		}
	})
}

// The status has told enough, whichever of the two deadlines cuts the rest short.
func TestAnErrorWhoseBodyHangsCountsByItsStatus(t *testing.T) {
	for name, listingTimeout := range map[string]time.Duration{
		"request timeout":  time.Hour,
		"listing deadline": 10 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(1, fakeapi.Fault{Serve: hangInError(http.StatusForbidden)})
				var seen observer
				client := newClient(t, serve(t, api), factoryapi.Config{Observe: seen.observe})
				ctx, cancel := context.WithTimeout(t.Context(), listingTimeout)
				defer cancel()
				err := askOnce(ctx, client)
				if got := apiError(t, err).Reason(); got != "403" {
					t.Errorf("error %v", err)
				}
				if got := seen.failures(); !slices.Equal(got, []string{"403"}) {
					t.Errorf("observed failures %q", got)
				}
			})
		})
	}
}

func TestCompressedAnswers(t *testing.T) {
	page := string(packed(t, lastPage(`{"id":"a"}`)))
	damaged := []byte(page)
	damaged[len(damaged)-8] ^= 1 // the checksum

	for _, tt := range []struct{ name, body, want string }{
		{"a page", page, ""},
		{"cut short within the header", page[:5], "invalid_response"},
		{"damaged", string(damaged), "invalid_response"},
		{"nonsense behind a good header", page[:10] + strings.Repeat("\xff", 50), "invalid_response"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
					t.Errorf("Accept-Encoding %q", got)
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = io.WriteString(w, tt.body)
			})), factoryapi.Config{})
			users, err := list(t.Context(), client)
			if tt.want == "" {
				if err != nil || len(users) != 1 {
					t.Errorf("%d users, error %v", len(users), err)
				}
			} else if got := apiError(t, err).Reason(); got != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}
