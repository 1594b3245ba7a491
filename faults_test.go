package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

// The fault matrix: each row is something that goes wrong with the API, and is tried on a first,
// a middle and the last page, once, twice and for ever. To add a row, add it to faults, in the
// group that it belongs to. Where fakeapi has no behavior for it, add one there if other tests may
// want it, or else below. What must come of a row is worked out in forecast_test.go.
//
// What a network in memory cannot show (TLS, proxies, resets of TCP) is tried on the built program,
// in e2e/process.

// fault is a row of the matrix: something that goes wrong, and what is to come of it.
type fault struct {
	name string

	// What goes wrong: the answer, or the way to the API.
	serve fakeapi.Behavior
	dial  func(context.Context) error

	// pages are a first, a middle and the last page that it strikes: 1, 4 and 7 if not set.
	pages [3]int

	// status is what it counts as in factory_api_errors_total. Without one it is no failure.
	status  string
	retried bool             // or else the listing fails at the first strike
	waits   [2]time.Duration // the least and the most before a retry, if not the back-off's
	takes   time.Duration    // until one request has come to its end
	// repaired: net/http itself repeats the request, once, if the connection was used before.
	repaired bool

	// For what is no failure:
	morePages int
	makes     func(page []person) []person // what is to be counted on the page that it strikes
}

const requestTimeout = 30 * time.Second // the default of --factory.request-timeout

// faults are the rows. Answers echo the key wherever there is room for it.
func faults() []fault {
	seven := [2]time.Duration{7 * time.Second, 7 * time.Second}
	rows := []fault{
		// Statuses.
		{name: "400", serve: refuse(400), status: "400"},
		{name: "401", serve: refuse(401), status: "401"},
		{name: "402", serve: refuse(402), status: "402"},
		{name: "403", serve: refuse(403), status: "403"},
		{name: "403 that ends within the key", serve: refuseCut(403), status: "403"},
		{name: "404", serve: refuse(404), status: "404"},
		{name: "404 with HTML", serve: fakeapi.Respond(404, "text/html", htmlPage), status: "404"},
		{name: "429, Retry-After in seconds", serve: refuse(429, "Retry-After", "7"), status: "429", retried: true, waits: seven},
		{name: "429, Retry-After as a date", serve: retryAt(7*time.Second, 0), status: "429", retried: true, waits: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		{name: "429, Retry-After of a fraction", serve: refuse(429, "Retry-After", "6.5"), status: "429", retried: true, waits: seven},
		{name: "429, Retry-After as a date of another clock", serve: retryAt(7*time.Second, time.Hour), status: "429", retried: true, waits: seven},
		{name: "429, no Retry-After", serve: refuse(429), status: "429", retried: true},
		{name: "429, Retry-After rubbish", serve: refuse(429, "Retry-After", "soon"), status: "429", retried: true},
		{name: "429, Retry-After negative", serve: refuse(429, "Retry-After", "-7"), status: "429", retried: true},
		{name: "429, Retry-After in the past", serve: retryAt(-time.Hour, 0), status: "429", retried: true},
		{name: "429, Retry-After beyond the deadline", serve: refuse(429, "Retry-After", "3600"), status: "429"},
		{name: "429, Retry-After beyond all reckoning", serve: refuse(429, "Retry-After", "99999999999999999999"), status: "429"},
		{name: "429, Retry-After as a date beyond the deadline", serve: retryAt(time.Hour, 0), status: "429"},
		{name: "500", serve: refuse(500), status: "500", retried: true},
		{name: "500 without a body", serve: fakeapi.Respond(500, "", ""), status: "500", retried: true},
		{name: "500 with an endless body", serve: fakeapi.EndlessError(500, testKey), status: "500", retried: true},
		{name: "502 with HTML", serve: fakeapi.Respond(502, "text/html", htmlPage), status: "502", retried: true},
		{name: "503", serve: refuse(503), status: "503", retried: true},
		{name: "503, Retry-After in seconds", serve: refuse(503, "Retry-After", "7"), status: "503", retried: true, waits: seven},
		{name: "504", serve: refuse(504), status: "504", retried: true},
		{name: "301 to another host", serve: redirect(301, "https://elsewhere.example/"), status: "301"},
		{name: "302 to another host", serve: redirect(302, "https://elsewhere.example/"), status: "302"},
		{name: "303 to another host", serve: redirect(303, "https://elsewhere.example/"), status: "303"},
		{name: "307 to another host", serve: redirect(307, "https://elsewhere.example/"), status: "307"},
		{name: "308 to another host", serve: redirect(308, "//elsewhere.example/"), status: "308"},
		{name: "302 to a log-in page", serve: redirect(302, "/login?next="), status: "302"},
		{name: "302 to what is no URL", serve: redirect(302, "https://[elsewhere/"), status: "302"},
		{name: "302 to nowhere", serve: refuse(302), status: "302"},
		{name: "304", serve: fakeapi.Respond(304, "", ""), status: "304"},
		{name: "201 with a page", serve: fakeapi.PageWith(201), status: "invalid_response"},
		{name: "204", serve: fakeapi.Respond(204, "", ""), status: "invalid_response"},
		{name: "206 with a page", serve: fakeapi.PageWith(206), status: "invalid_response"},

		// A success that is none.
		{name: "200 with HTML", serve: fakeapi.Respond(200, "text/html", htmlPage), status: "invalid_response"},
		{name: "200 with the key alone", serve: fakeapi.Respond(200, "text/plain", testKey), status: "invalid_response"},
		{name: "200 with the key at the edge of what is quoted", serve: fakeapi.Respond(200, "text/plain", "no access for "+testKey), status: "invalid_response"},
		{name: "empty 200", serve: fakeapi.Respond(200, "application/json", ""), status: "invalid_response"},
		{name: "null", serve: fakeapi.Respond(200, "application/json", "null"), status: "invalid_response"},
		{name: "[]", serve: fakeapi.Respond(200, "application/json", "[]"), status: "invalid_response"},
		{name: "{}", serve: fakeapi.Respond(200, "application/json", "{}"), status: "invalid_response"},
		{name: "a string", serve: fakeapi.Respond(200, "application/json", `"`+testKey+`"`), status: "invalid_response"},
		{name: "an error body with 200", serve: fakeapi.Respond(200, "application/json", `{"detail":"`+testKey+`","status":401,"title":"Unauthorized"}`), status: "invalid_response"},
		{name: "users missing", serve: fakeapi.Edit(func(page map[string]any) { delete(page, "users") }), status: "invalid_response"},
		{name: "users null", serve: edit("users", nil), status: "invalid_response"},
		{name: "users an object", serve: edit("users", map[string]any{}), status: "invalid_response"},
		{name: "a user null", serve: edit("users", []any{nil}), status: "invalid_response"},
		{name: "a user without an id", serve: fakeapi.EditUsers(func(user map[string]any) { delete(user, "id") }), status: "invalid_response"},
		{name: "a user with an empty id", serve: fakeapi.EditUsers(func(user map[string]any) { user["id"] = "" }), status: "invalid_response"},
		{name: "a user with a number for an id", serve: fakeapi.EditUsers(func(user map[string]any) { user["id"] = 17 }), status: "invalid_response"},
		{name: "pagination missing", serve: fakeapi.Edit(func(page map[string]any) { delete(page, "pagination") }), status: "invalid_response"},
		{name: "pagination null", serve: edit("pagination", nil), status: "invalid_response"},
		{name: "hasMore missing", serve: edit("pagination", map[string]any{"nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore no boolean", serve: edit("pagination", map[string]any{"hasMore": "false", "nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore without a cursor", serve: edit("pagination", map[string]any{"hasMore": true}), status: "invalid_response"},
		{name: "hasMore with a cursor of null", serve: edit("pagination", map[string]any{"hasMore": true, "nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore with an empty cursor", serve: edit("pagination", map[string]any{"hasMore": true, "nextCursor": ""}), status: "invalid_response"},
		// The first page has no cursor of its own, and it takes a few until there is one to return to.
		{name: "a cursor that repeats at once", serve: fakeapi.CursorAgain(0), pages: [3]int{2, 4, 7}, status: "invalid_response"},
		{name: "a cursor that repeats after three pages", serve: fakeapi.CursorAgain(2), pages: [3]int{4, 5, 7}, status: "invalid_response"},
		{name: "JSON cut half way", serve: fakeapi.CutJSON(), status: "invalid_response"},
		{name: "JSON with something behind it", serve: fakeapi.Replace(`"pagination":{`, `"pagination":{}}{"x":{`), status: "invalid_response"},
		{name: "raw control characters in a string", serve: fakeapi.Replace(`"users":[`, "\"x\":\"\x01\x1f\",\"users\":["), status: "invalid_response"},
		{name: "a body that only claims to be compressed", serve: fakeapi.WithHeader("Content-Encoding", "gzip", fakeapi.PageWith(200)), status: "invalid_response"},
		{name: "a compressed body cut short in a complete message", serve: fakeapi.Half(fakeapi.Compressed(fakeapi.PageWith(200))), status: "invalid_response"},
		{name: "a cursor of 10 MB", serve: fakeapi.Cursor(strings.Repeat("c", 10_000_000)), status: "invalid_response"},
		{name: "a cursor of 5 KiB", serve: fakeapi.Cursor(strings.Repeat("c", 5<<10)), status: "invalid_response"},
		{name: "an endless body", serve: fakeapi.Endless(), status: "invalid_response"},
		{name: "a body of 64 MiB", serve: fakeapi.Large(64 << 20), status: "invalid_response"},

		// Transfers.
		{name: "a transfer cut half way", serve: fakeapi.CutTransfer(), status: "connection", retried: true},
		{name: "a reset", serve: fakeapi.Reset(), status: "connection", retried: true, repaired: true},
		{name: "no HTTP", serve: fakeapi.Raw("SSH-2.0-" + testKey + "\r\n\r\n"), status: "connection", retried: true},
		{name: "a status that is no number", serve: fakeapi.Raw("HTTP/1.1 " + testKey + " OK\r\n\r\n"), status: "connection", retried: true},
		{name: "an endless header", serve: fakeapi.EndlessHeader("X-Echo: " + testKey), status: "connection", retried: true},
		{name: "a hang before the headers", serve: fakeapi.Hang(), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a hang inside the body", serve: fakeapi.HangInBody(), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a byte a second", serve: fakeapi.Trickle(time.Second), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a refused connection", dial: dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)), status: "connection", retried: true},
		{name: "a TLS failure", dial: dialError(x509.UnknownAuthorityError{}), status: "connection", retried: true},
		{name: "a name that does not resolve", dial: dialError(&net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}), status: "connection", retried: true},
		{name: "a connection that hangs", dial: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, status: "timeout", retried: true, takes: requestTimeout},

		// No failures.
		{name: "an answer in the last second", serve: fakeapi.Delay(requestTimeout-time.Second, fakeapi.PageWith(200)), takes: requestTimeout - time.Second},
		{name: "a compressed page", serve: fakeapi.Compressed(fakeapi.PageWith(200))},
		{name: "an empty page with a new cursor", serve: fakeapi.EmptyPage(), morePages: 1},
		{name: "a user of another page", serve: fakeapi.Edit(func(page map[string]any) {
			page["users"] = append(page["users"].([]any), map[string]any{"id": "user_00000", "email": "other@other.example", "createdAt": "2001-01-01T00:00:00Z", "metadata": map[string]any{"team": "other"}})
		}), makes: func(page []person) []person { return append(page, person{id: "user_00000"}) }},
		{name: "unknown fields nested deep", serve: fakeapi.Edit(nestEverywhere)},
		{name: "null wherever a field is optional", serve: fakeapi.EditUsers(func(user map[string]any) {
			for _, field := range []string{"email", "firstName", "lastName", "createdAt", "lastSignInAt", "metadata"} {
				user[field] = nil
			}
		}), makes: each(func(p *person) { *p = person{id: p.id} })},
		{name: "metadata a string", serve: fakeapi.EditUsers(func(user map[string]any) { user["metadata"] = "team" }), makes: withTeam("")},
		{name: "metadata absent", serve: fakeapi.EditUsers(func(user map[string]any) { delete(user, "metadata") }), makes: withTeam("")},
		{name: "a metadata value that is a number", serve: sendTeam(json.RawMessage("1.50e3")), makes: withTeam("1.50e3")},
		{name: "a metadata value that is a boolean", serve: sendTeam(true), makes: withTeam("true")},
		{name: "a metadata value that is null", serve: sendTeam(nil), makes: withTeam("")},
		{name: "a metadata value that is an object", serve: sendTeam(map[string]any{"team": "x"}), makes: withTeam("")},
		{name: "a metadata value that is a list", serve: sendTeam([]any{"x"}), makes: withTeam("")},
		{name: "a metadata value of 100 kB", serve: sendTeam(strings.Repeat("v", 100_000)), makes: withTeam(strings.Repeat("v", 100_000))},
		{name: "a metadata key of 100 kB", serve: fakeapi.EditUsers(func(user map[string]any) { user["metadata"].(map[string]any)[strings.Repeat("k", 100_000)] = "x" })},
		{name: "an id of 100 kB", serve: fakeapi.EditUsers(func(user map[string]any) { user["id"] = user["id"].(string) + strings.Repeat("i", 100_000) }),
			makes: each(func(p *person) { p.id += strings.Repeat("i", 100_000) })},
		{name: "invalid UTF-8 and control characters in every string", serve: spoilStrings(), makes: each(func(p *person) {
			*p = person{id: p.id + spoiltText, created: spoiltText, signedIn: spoiltText, attributes: map[string]string{"metadata.team": "x" + spoiltText}}
		})},
		{name: "timestamps of another form", serve: fakeapi.EditUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = "yesterday", "01/02/2000" }),
			makes: each(func(p *person) { p.created, p.signedIn = "yesterday", "01/02/2000" })},
		{name: "timestamps that are numbers", serve: fakeapi.EditUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = 946684800, 946684800 }),
			makes: each(func(p *person) { p.created, p.signedIn = "946684800", "946684800" })},
		{name: "timestamps that are objects", serve: fakeapi.EditUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = map[string]any{}, []any{} }),
			makes: each(func(p *person) { p.created, p.signedIn = "{}", "[]" })},
		{name: "empty timestamps", serve: fakeapi.EditUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = "", "" }),
			makes: each(func(p *person) { p.created, p.signedIn = "", "" })},
		{name: "timestamps that stand for none", serve: fakeapi.EditUsers(func(user map[string]any) {
			user["createdAt"], user["lastSignInAt"] = "1970-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z"
		}), makes: each(func(p *person) { p.created, p.signedIn = "", "" })},
		{name: "a mail address with a name behind it", serve: fakeapi.EditUsers(func(user map[string]any) { user["email"] = user["email"].(string) + " (Jane Doe)" }),
			makes: each(func(p *person) { p.attributes = map[string]string{"metadata.team": p.attributes["metadata.team"]} })},
		{name: "a mail address with a dot and a blank at its end", serve: fakeapi.EditUsers(func(user map[string]any) {
			if email := user["email"].(string); email != "" {
				user["email"] = email + ". "
			}
		})},
	}
	for i := range rows {
		if rows[i].pages == [3]int{} {
			rows[i].pages = [3]int{1, (matrixPages + 1) / 2, matrixPages}
		}
	}
	return rows
}

// TestFaults strikes an exporter with each fault, before there was any listing and when there was
// one, until it has recovered; and looks at everything that it says meanwhile.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for i, position := range []string{"first", "middle", "last"} {
				for times, often := range []string{"for ever", "once", "twice"} {
					t.Run(position+" page, "+often, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { strike(newCell(t, &f), f.pages[i], times) })
					})
				}
			}
		})
	}
}

// strike goes through one cell of the matrix; no times are all times.
func strike(c *cell, page, times int) {
	c.inject(page, times)
	if times > 0 {
		for c.strikes > 0 {
			c.check()
		}
	} else {
		c.check()
		c.repair()
		c.check()

		// Now there is a listing, which stands in for those that fail, for a while.
		c.inject(page, times)
		c.check()
		time.Sleep(maxStale)
		c.check()
		c.repair()
	}
	c.check()
	c.checkLog()
}

func TestKeyRejectedForHoursIsLoggedTwice(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) {
			c := newCell(t, &fault{serve: refuse(status), status: strconv.Itoa(status)})
			c.check()
			c.inject(1, 0)
			for range 12 * 60 {
				c.check()
			}
			c.repair()
			c.check()
			c.check()
			c.checkLog() // one error, one recovery
			if requests := c.last["factory_api_requests_total"]; requests != 12*60+3*matrixPages {
				t.Errorf("%g requests, want one a scrape while the key was rejected", requests)
			}
		})
	}
}

func TestScrapesThatWaitShareTheRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "--web.max-requests=0")
		w.api.Inject(fakeapi.Fault{Serve: refuse(500)})
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() { w.scrapeText(t) })
		}
		group.Wait()
		if got := w.api.Stats(); got.Requests != 4 || got.MaxConcurrent != 1 {
			t.Errorf("500 scrapes led to %d requests, %d at once; want 4 and 1", got.Requests, got.MaxConcurrent)
		}
	})
}

func TestListingEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve    fakeapi.Behavior
		status   string
		requests int
		took     time.Duration
	}{
		"in a request": {fakeapi.Hang(), "timeout", 1, 10 * time.Minute},
		"in a wait":    {refuse(503, "Retry-After", "120"), "503", 5, 8 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "--factory.max-retries=100", "--factory.request-timeout=1h")
				w.api.Inject(fakeapi.Fault{Serve: test.serve})
				for i := 1.0; i <= 3; i++ {
					begin := time.Now()
					s := w.scrape(t)
					if took := time.Since(begin); took != test.took {
						t.Errorf("the listing took %s, want %s", took, test.took)
					}
					if got, want := s["factory_api_requests_total"], i*float64(test.requests); got != want {
						t.Errorf("%g requests after %g scrapes, want %g", got, i, want)
					}
					if got, want := s[`factory_api_errors_total{status="`+test.status+`"}`], i*float64(test.requests); got != want {
						t.Errorf("%g errors after %g scrapes, want %g", got, i, want)
					}
					time.Sleep(time.Hour) // no request without a scrape
					if got, want := w.api.Stats().Requests, int(i)*test.requests; got != want {
						t.Errorf("%d requests an hour after %g scrapes, want %d", got, i, want)
					}
				}
			})
		})
	}
}

// TestLargeBodiesTakeLittleMemory is not parallel: it measures what the whole process allocates.
func TestLargeBodiesTakeLittleMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve fakeapi.Behavior
		most  int // bytes sent
	}{
		{"endless", fakeapi.Endless(), 17 << 20},
		{"64 MiB", fakeapi.Large(64 << 20), 17 << 20},
		{"64 MiB, compressed", fakeapi.Compressed(fakeapi.Large(64 << 20)), 1 << 20},
		{"endless error", fakeapi.EndlessError(500, testKey), 1 << 20},
		{"a million users", fakeapi.Respond(200, "application/json", `{"users":[`+strings.Repeat(`{"id":"a"},`, 1<<20)+`{"id":"a"}],"pagination":{"hasMore":false}}`), 17 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "--factory.max-retries=0")
				sent := &countingWriter{}
				w.api.Inject(fakeapi.Fault{Serve: func(rw http.ResponseWriter, r *http.Request, page []byte) {
					sent.ResponseWriter = rw
					test.serve(sent, r, page)
				}})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				s := w.scrape(t)
				synctest.Wait()
				runtime.ReadMemStats(&after)
				if s["factory_up"] != 0 || s["factory_api_requests_total"] != 1 {
					t.Errorf("factory_up is %g after %g requests, want 0 after 1", s["factory_up"], s["factory_api_requests_total"])
				}
				if sent.written > test.most {
					t.Errorf("%d bytes were taken, want %d at most", sent.written, test.most)
				}
				// 16 MiB are read, into a buffer that doubles: 64 MiB in all, and twice that where the
				// race detector keeps the compiler from growing a slice in one step.
				if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 160 {
					t.Errorf("%d MiB were allocated in all, want 160 MiB at most", allocated)
				}
			})
		})
	}
}

// countingWriter counts the bytes of the body that were written.
type countingWriter struct {
	http.ResponseWriter
	written int
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.written += n
	return n, err
}

// refuse answers with a status, a header of these names and values in turns, and an error body.
func refuse(status int, header ...string) fakeapi.Behavior {
	const key = "Bearer " + testKey
	body := fmt.Sprintf(`{"detail":"no access\nfor %[1]s%s","status":%d,"title":"Refused","metadata":{"key":"%[1]s"}}`,
		key, strings.Repeat(" and nobody else", 100), status)
	serve := fakeapi.WithHeader("X-Echo", key, fakeapi.Respond(status, "application/json", body))
	for i := 0; i < len(header); i += 2 {
		serve = fakeapi.WithHeader(header[i], header[i+1], serve)
	}
	return serve
}

const htmlPage = "<!DOCTYPE html>\n<html><body>\n<h1>Not for " + testKey + "</h1>\n<p>nor for " + testKey + testKey + "</p></body></html>\n"

// refuseCut answers with a status and an error body that breaks off within the key.
func refuseCut(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		const body = "no access for " + testKey
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body[:len(body)-len(testKey)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // net/http ends the connection
	}
}

// retryAt answers 429 with a date, by a clock that is ahead.
func retryAt(after, ahead time.Duration) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		clock := time.Now().Add(ahead).UTC()
		refuse(429, "Date", clock.Format(http.TimeFormat), "Retry-After", clock.Add(after).Format(http.TimeFormat))(w, r, page)
	}
}

func redirect(status int, to string) fakeapi.Behavior {
	return refuse(status, "Location", to+testKey)
}

func dialError(err error) func(context.Context) error {
	return func(context.Context) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
}

func edit(field string, value any) fakeapi.Behavior {
	return fakeapi.Edit(func(page map[string]any) { page[field] = value })
}

func sendTeam(value any) fakeapi.Behavior {
	return fakeapi.EditUsers(func(user map[string]any) { user["metadata"].(map[string]any)["team"] = value })
}

func withTeam(value string) func([]person) []person {
	return each(func(p *person) {
		p.attributes = maps.Clone(p.attributes)
		p.attributes["metadata.team"] = value
	})
}

func each(change func(*person)) func([]person) []person {
	return func(page []person) []person {
		for i := range page {
			change(&page[i])
		}
		return page
	}
}

// nestEverywhere adds fields that nobody knows.
func nestEverywhere(page map[string]any) {
	var nested any = "deep"
	for range 1000 {
		nested = map[string]any{"users": []any{nested}}
	}
	page["unknown"] = nested
	page["pagination"].(map[string]any)["unknown"] = nested
	for _, user := range page["users"].([]any) {
		user.(map[string]any)["unknown"] = nested
		user.(map[string]any)["metadata"].(map[string]any)["unknown"] = nested
	}
}

// spoiltText is what the exporter makes of the end of strings that spoilStrings sends.
const spoiltText = "\uFFFD\a\"\\\n\x00\uFFFD."

// spoilStrings sends strings that end in invalid UTF-8 and in control characters.
func spoilStrings() fakeapi.Behavior {
	const end = "\u2588\a\"\\\n\x00\u2588." // the block is made invalid below
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		var content map[string]any
		if err := json.Unmarshal(page, &content); err != nil {
			panic(err)
		}
		for _, u := range content["users"].([]any) {
			user := u.(map[string]any)
			user["id"] = user["id"].(string) + end
			user["email"] = "a" + end + "@acme.example" + end
			user["firstName"], user["lastName"] = end, end
			user["createdAt"], user["lastSignInAt"] = end, end
			user["metadata"] = map[string]any{"team": "x" + end, "other" + end: end}
			user["unknown"+end] = end
		}
		body, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		body = bytes.ReplaceAll(body, []byte("\u2588"), []byte("\xff"))
		fakeapi.Respond(200, "application/json", string(body))(w, r, page)
	}
}
