package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// An organization of the matrix has so many members that there is a first page, a last one, and
// several between.
const (
	matrixPageSize = 2
	matrixPages    = 7
	matrixMembers  = matrixPageSize*matrixPages - 1
)

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

const requestTimeout = 30 * time.Second // the default

// faults are the rows. Answers echo the key wherever there is room for it.
func faults() []fault {
	seven := [2]time.Duration{7 * time.Second, 7 * time.Second}
	rows := []fault{
		// Statuses.
		{name: "400", serve: refuse(400), status: "400"},
		{name: "401", serve: refuse(401), status: "401"},
		{name: "402", serve: refuse(402), status: "402"},
		{name: "403", serve: refuse(403), status: "403"},
		{name: "403 that ends within the key", serve: respondCut(403), status: "403"},
		{name: "404", serve: refuse(404), status: "404"},
		{name: "404 with HTML", serve: respond(404, "text/html", htmlPage), status: "404"},
		{name: "429, Retry-After in seconds", serve: refuse(429, "Retry-After", "7"), status: "429", retried: true, waits: seven},
		{name: "429, Retry-After as a date", serve: retryAt(7 * time.Second), status: "429", retried: true, waits: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		{name: "429, Retry-After of a fraction", serve: refuse(429, "Retry-After", "6.5"), status: "429", retried: true, waits: seven},
		{name: "429, Retry-After as a date of another clock", serve: retryAtOther(7 * time.Second), status: "429", retried: true, waits: seven},
		{name: "429, no Retry-After", serve: refuse(429), status: "429", retried: true},
		{name: "429, Retry-After rubbish", serve: refuse(429, "Retry-After", "soon"), status: "429", retried: true},
		{name: "429, Retry-After negative", serve: refuse(429, "Retry-After", "-7"), status: "429", retried: true},
		{name: "429, Retry-After in the past", serve: retryAt(-time.Hour), status: "429", retried: true},
		{name: "429, Retry-After beyond the deadline", serve: refuse(429, "Retry-After", "3600"), status: "429"},
		{name: "429, Retry-After beyond all reckoning", serve: refuse(429, "Retry-After", "99999999999999999999"), status: "429"},
		{name: "429, Retry-After as a date beyond the deadline", serve: retryAt(time.Hour), status: "429"},
		{name: "500", serve: refuse(500), status: "500", retried: true},
		{name: "500 without a body", serve: respond(500, "", ""), status: "500", retried: true},
		{name: "500 with an endless body", serve: endless(500), status: "500", retried: true},
		{name: "502 with HTML", serve: respond(502, "text/html", htmlPage), status: "502", retried: true},
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
		{name: "304", serve: respond(304, "", ""), status: "304"},
		{name: "201 with a page", serve: success(201), status: "invalid_response"},
		{name: "204", serve: respond(204, "", ""), status: "invalid_response"},
		{name: "206 with a page", serve: success(206), status: "invalid_response"},

		// A success that is none.
		{name: "200 with HTML", serve: respond(200, "text/html", htmlPage), status: "invalid_response"},
		{name: "200 with the key alone", serve: respond(200, "text/plain", "KEY"), status: "invalid_response"},
		{name: "200 with the key at the edge of what is quoted", serve: respond(200, "text/plain", "no access for KEY"), status: "invalid_response"},
		{name: "empty 200", serve: respond(200, "application/json", ""), status: "invalid_response"},
		{name: "null", serve: respond(200, "application/json", "null"), status: "invalid_response"},
		{name: "[]", serve: respond(200, "application/json", "[]"), status: "invalid_response"},
		{name: "{}", serve: respond(200, "application/json", "{}"), status: "invalid_response"},
		{name: "a string", serve: respond(200, "application/json", `"KEY"`), status: "invalid_response"},
		{name: "an error body with 200", serve: respond(200, "application/json", `{"detail":"KEY","status":401,"title":"Unauthorized"}`), status: "invalid_response"},
		{name: "users missing", serve: fakeapi.Edit(func(page map[string]any) { delete(page, "users") }), status: "invalid_response"},
		{name: "users null", serve: edit("users", nil), status: "invalid_response"},
		{name: "users an object", serve: edit("users", map[string]any{}), status: "invalid_response"},
		{name: "a user null", serve: edit("users", []any{nil}), status: "invalid_response"},
		{name: "a user without an id", serve: editUsers(func(user map[string]any) { delete(user, "id") }), status: "invalid_response"},
		{name: "a user with an empty id", serve: editUsers(func(user map[string]any) { user["id"] = "" }), status: "invalid_response"},
		{name: "a user with a number for an id", serve: editUsers(func(user map[string]any) { user["id"] = 17 }), status: "invalid_response"},
		{name: "pagination missing", serve: fakeapi.Edit(func(page map[string]any) { delete(page, "pagination") }), status: "invalid_response"},
		{name: "pagination null", serve: edit("pagination", nil), status: "invalid_response"},
		{name: "hasMore missing", serve: edit("pagination", map[string]any{"nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore no boolean", serve: edit("pagination", map[string]any{"hasMore": "false", "nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore without a cursor", serve: edit("pagination", map[string]any{"hasMore": true}), status: "invalid_response"},
		{name: "hasMore with a cursor of null", serve: edit("pagination", map[string]any{"hasMore": true, "nextCursor": nil}), status: "invalid_response"},
		{name: "hasMore with an empty cursor", serve: edit("pagination", map[string]any{"hasMore": true, "nextCursor": ""}), status: "invalid_response"},
		// The first page has no cursor of its own, and it takes a few until there is one to return to.
		{name: "a cursor that repeats at once", serve: cursorAgain(0), pages: [3]int{2, 4, 7}, status: "invalid_response"},
		{name: "a cursor that repeats after three pages", serve: cursorAgain(2), pages: [3]int{4, 5, 7}, status: "invalid_response"},
		{name: "JSON cut half way", serve: fakeapi.CutJSON(), status: "invalid_response"},
		{name: "JSON with something behind it", serve: fakeapi.Replace(`"pagination":{`, `"pagination":{}}{"x":{`), status: "invalid_response"},
		{name: "raw control characters in a string", serve: fakeapi.Replace(`"users":[`, "\"x\":\"\x01\x1f\",\"users\":["), status: "invalid_response"},
		{name: "a body that only claims to be compressed", serve: with("Content-Encoding", "gzip", success(200)), status: "invalid_response"},
		{name: "a compressed body cut short in a complete message", serve: func(w http.ResponseWriter, r *http.Request, page []byte) {
			whole := zipped(page)
			with("Content-Encoding", "gzip", fakeapi.Respond(200, "application/json", string(whole[:len(whole)/2])))(w, r, page)
		}, status: "invalid_response"},
		{name: "a cursor of 10 MB", serve: fakeapi.Cursor(strings.Repeat("c", 10_000_000)), status: "invalid_response"},
		{name: "a cursor of 5 KiB", serve: fakeapi.Cursor(strings.Repeat("c", 5<<10)), status: "invalid_response"},
		{name: "an endless body", serve: fakeapi.Endless(), status: "invalid_response"},
		{name: "a body of 64 MiB", serve: large(64 << 20), status: "invalid_response"},

		// Transfers.
		{name: "a transfer cut half way", serve: fakeapi.CutTransfer(), status: "connection", retried: true},
		{name: "a reset", serve: fakeapi.Reset(), status: "connection", retried: true, repaired: true},
		{name: "no HTTP", serve: raw("SSH-2.0-KEY\r\n\r\n"), status: "connection", retried: true},
		{name: "a status that is no number", serve: raw("HTTP/1.1 KEY OK\r\n\r\n"), status: "connection", retried: true},
		{name: "an endless header", serve: endlessHeader(), status: "connection", retried: true},
		{name: "a hang before the headers", serve: fakeapi.Hang(), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a hang inside the body", serve: fakeapi.HangInBody(), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a byte a second", serve: fakeapi.Trickle(time.Second), status: "timeout", retried: true, takes: requestTimeout},
		{name: "a refused connection", dial: dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)), status: "connection", retried: true},
		{name: "a TLS failure", dial: dialError(x509.UnknownAuthorityError{}), status: "connection", retried: true},
		{name: "a name that does not resolve", dial: dialError(&net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}), status: "connection", retried: true},
		{name: "a connection that hangs", dial: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, status: "timeout", retried: true, takes: requestTimeout},

		// No failures.
		{name: "an answer in the last second", serve: late(requestTimeout - time.Second), takes: requestTimeout - time.Second},
		{name: "a compressed page", serve: func(w http.ResponseWriter, r *http.Request, page []byte) { compressed(page)(w, r, page) }},
		{name: "an empty page with a new cursor", serve: emptyPage(), morePages: 1},
		{name: "a user of another page", serve: fakeapi.Edit(func(page map[string]any) {
			page["users"] = append(page["users"].([]any), map[string]any{"id": "user_00000", "email": "other@other.example", "createdAt": "2001-01-01T00:00:00Z", "metadata": map[string]any{"team": "other"}})
		}), makes: func(page []person) []person { return append(page, person{id: "user_00000"}) }},
		{name: "unknown fields nested deep", serve: fakeapi.Edit(nestEverywhere)},
		{name: "null wherever a field is optional", serve: editUsers(func(user map[string]any) {
			for _, field := range []string{"email", "firstName", "lastName", "createdAt", "lastSignInAt", "metadata"} {
				user[field] = nil
			}
		}), makes: each(func(p *person) { *p = person{id: p.id} })},
		{name: "metadata a string", serve: editUsers(func(user map[string]any) { user["metadata"] = "team" }), makes: withTeam("")},
		{name: "metadata absent", serve: editUsers(func(user map[string]any) { delete(user, "metadata") }), makes: withTeam("")},
		{name: "a metadata value that is a number", serve: sendTeam(json.RawMessage("1.50e3")), makes: withTeam("1.50e3")},
		{name: "a metadata value that is a boolean", serve: sendTeam(true), makes: withTeam("true")},
		{name: "a metadata value that is null", serve: sendTeam(nil), makes: withTeam("")},
		{name: "a metadata value that is an object", serve: sendTeam(map[string]any{"team": "x"}), makes: withTeam("")},
		{name: "a metadata value that is a list", serve: sendTeam([]any{"x"}), makes: withTeam("")},
		{name: "a metadata value of 100 kB", serve: sendTeam(strings.Repeat("v", 100_000)), makes: withTeam(strings.Repeat("v", 100_000))},
		{name: "a metadata key of 100 kB", serve: editUsers(func(user map[string]any) { user["metadata"].(map[string]any)[strings.Repeat("k", 100_000)] = "x" })},
		{name: "an id of 100 kB", serve: editUsers(func(user map[string]any) { user["id"] = user["id"].(string) + strings.Repeat("i", 100_000) }),
			makes: each(func(p *person) { p.id += strings.Repeat("i", 100_000) })},
		{name: "invalid UTF-8 and control characters in every string", serve: spoilStrings(), makes: each(func(p *person) {
			*p = person{id: p.id + spoiltText, created: spoiltText, signedIn: spoiltText, attributes: map[string]string{"metadata.team": "x" + spoiltText}}
		})},
		{name: "timestamps of another form", serve: editUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = "yesterday", "01/02/2000" }),
			makes: each(func(p *person) { p.created, p.signedIn = "yesterday", "01/02/2000" })},
		{name: "timestamps that are numbers", serve: editUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = 946684800, 946684800 }),
			makes: each(func(p *person) { p.created, p.signedIn = "946684800", "946684800" })},
		{name: "timestamps that are objects", serve: editUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = map[string]any{}, []any{} }),
			makes: each(func(p *person) { p.created, p.signedIn = "{}", "[]" })},
		{name: "empty timestamps", serve: editUsers(func(user map[string]any) { user["createdAt"], user["lastSignInAt"] = "", "" }),
			makes: each(func(p *person) { p.created, p.signedIn = "", "" })},
		{name: "timestamps that stand for none", serve: editUsers(func(user map[string]any) {
			user["createdAt"], user["lastSignInAt"] = "1970-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z"
		}), makes: each(func(p *person) { p.created, p.signedIn = "", "" })},
		{name: "a mail address with a name behind it", serve: editUsers(func(user map[string]any) { user["email"] = user["email"].(string) + " (Jane Doe)" }),
			makes: each(func(p *person) { p.attributes = map[string]string{"metadata.team": p.attributes["metadata.team"]} })},
		{name: "a mail address with a dot and a blank at its end", serve: editUsers(func(user map[string]any) {
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

// TestFaults strikes an exporter with each fault on each page, once, twice and for ever, before
// there was any listing and when there was one, until it has recovered; and looks at everything
// that it says meanwhile.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for i, position := range []string{"first", "middle", "last"} {
				for times, often := range []string{"for ever", "once", "twice"} {
					t.Run(position+" page, "+often, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { strike(newWorld(t, &f), f.pages[i], times) })
					})
				}
			}
		})
	}
}

// strike goes through one cell of the matrix; no times are all times.
func strike(w *world, page, times int) {
	w.inject(page, times)
	if times > 0 {
		for w.strikes > 0 {
			w.check()
		}
	} else {
		w.check()
		w.repair()
		w.check()

		// Now there is a listing, which stands in for those that fail, for a while.
		w.inject(page, times)
		w.check()
		time.Sleep(maxStale)
		w.check()
		w.repair()
	}
	w.check()
	w.checkLog()
}

const maxStale = 5 * time.Minute // the default

// world is an API and an exporter, on networks in memory and with a clock of their own. It knows
// what is to come of a fault.
type world struct {
	t        *testing.T
	api      *fakeapi.Server
	network  *fakeapi.Pipe // of the exporter
	exporter *http.Client
	logs     *output

	fault *fault
	page  int // that the fault strikes
	dial  atomic.Int64
	asked atomic.Int64 // the page that is being asked for

	mu    sync.Mutex
	hosts []string // that the exporter asked

	// What is to be.
	people    []person
	strikes   int // that are left
	connected bool
	failing   bool
	failures  int // that the log is to tell of
	shown     samples
	shownAt   time.Time
	ids       map[string]bool

	last  samples
	stats fakeapi.Stats
}

func newWorld(t *testing.T, f *fault, args ...string) *world {
	w := &world{t: t, fault: f, logs: new(output)}
	members := members(matrixMembers, time.Now())
	for _, m := range members {
		w.people = append(w.people, personOf(m))
	}
	w.api = fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)
	apiPipe := servePipe(t, &http.Server{Handler: withCursors(w.api), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)})

	transport := &http.Transport{
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10,                  // large bodies pass faster
		DisableKeepAlives:      f != nil && f.dial != nil, // so that there is a connection to fail for each page
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if w.asked.Load() == int64(w.page) && w.dial.Load() > 0 {
				w.dial.Add(-1)
				return nil, f.dial(ctx)
			}
			return apiPipe.DialContext(ctx, network, address)
		},
	}
	pages := map[string]int64{"": 1}
	cfg := parse(t, append([]string{
		"--factory.url=http://localhost", "--factory.page-size=" + strconv.Itoa(matrixPageSize),
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--collector.per-user",
		"--web.disable-exporter-metrics", "--log.level=debug",
	}, args...)...)
	recording := roundTripper(func(r *http.Request) (*http.Response, error) {
		w.mu.Lock()
		w.hosts = append(w.hosts, r.URL.Host)
		w.mu.Unlock()
		cursor := r.URL.Query().Get("cursor")
		if pages[cursor] == 0 {
			pages[cursor] = w.asked.Load() + 1
		}
		w.asked.Store(pages[cursor])
		return transport.RoundTrip(r)
	})
	t.Cleanup(transport.CloseIdleConnections)
	w.network = servePipe(t, newTestServer(t, cfg, recording, w.logs))
	client := &http.Transport{DialContext: w.network.DialContext, DisableCompression: true}
	t.Cleanup(client.CloseIdleConnections)
	w.exporter = &http.Client{Transport: client}
	return w
}

// inject makes the fault strike.
func (w *world) inject(page, times int) {
	w.page, w.strikes = page, times
	if times == 0 {
		w.strikes = math.MaxInt
	}
	if w.fault.dial != nil {
		w.dial.Store(int64(w.strikes))
		return
	}
	w.api.Inject(fakeapi.Fault{Page: page, Times: times, Serve: w.fault.serve})
}

// repair ends the fault.
func (w *world) repair() {
	w.strikes = 0
	w.dial.Store(0)
	w.api.ClearFaults()
}

// outcome is what is to come of a listing.
type outcome struct {
	ok          bool
	requests    int // sent
	arrived     int // at the API
	errors      int
	pages       int
	least, most time.Duration
	people      []person
}

// foresee says what is to come of the next listing.
func (w *world) foresee() outcome {
	f := w.fault
	o := outcome{ok: true, requests: matrixPages, arrived: matrixPages, pages: matrixPages, people: w.people}
	if w.strikes == 0 {
		return o
	}
	if f.status == "" {
		w.strikes -= min(w.strikes, 1+f.morePages) // each of which is struck as well
		o.requests += f.morePages
		o.arrived += f.morePages
		o.pages += f.morePages
		o.least, o.most = f.takes, f.takes
		if f.makes != nil {
			from := (w.page - 1) * matrixPageSize
			to := min(from+matrixPageSize, len(w.people))
			o.people = slices.Concat(w.people[:from], f.makes(slices.Clone(w.people[from:to])), w.people[to:])
		}
		return o
	}

	const retries = 3
	if f.repaired && (w.page > 1 || w.connected) {
		o.requests++
		o.arrived++
		o.errors++
		w.strikes--
	}
	least, most := 250*time.Millisecond, 750*time.Millisecond
	for try := 0; w.strikes > 0; try++ {
		w.strikes--
		o.errors++
		o.requests++
		if f.dial == nil {
			o.arrived++
		}
		o.least += f.takes
		o.most += f.takes
		if !f.retried || try == retries {
			o.ok = false
			o.requests -= matrixPages - w.page + 1
			o.arrived -= matrixPages - w.page + 1
			break
		}
		if f.waits[1] > 0 {
			least, most = f.waits[0], f.waits[1]
		}
		o.least += least
		o.most += most
		least, most = least*3/2, most*3/2
	}
	return o
}

// check scrapes a minute later and looks at everything.
func (w *world) check() {
	t := w.t
	t.Helper()
	time.Sleep(time.Minute)
	want := w.foresee()
	begin := time.Now()
	status, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	if took := time.Since(begin); took < want.least || took > want.most {
		t.Errorf("it took %s, want %s to %s", took, want.least, want.most)
	}
	checkNoKey(t, "scrape", body)
	if !utf8.ValidString(body) {
		t.Error("scrape is not UTF-8")
	}
	s := parseSamples(t, hashes.ReplaceAllString(body, "…HASH"))

	if want.ok != (s["factory_up"] == 1) {
		t.Errorf("factory_up is %g, the listing should succeed: %v", s["factory_up"], want.ok)
	}
	if value, ok := s["factory_listing_in_progress"]; !ok || value != 0 {
		t.Errorf("factory_listing_in_progress is %g (there: %v), want 0", value, ok)
	}
	var joined, left int
	if want.ok {
		w.shown = countByHand(want.people, []string{"1d", "7d", "30d", "90d"}, []string{"email_domain", "metadata.team"}, begin)
		w.shown["factory_listing_pages"] = float64(want.pages)
		w.shownAt = time.Now()
		ids := map[string]bool{}
		for _, p := range want.people {
			ids[p.id] = true
			if w.ids != nil && !w.ids[p.id] {
				joined++
			}
		}
		for id := range w.ids {
			if !ids[id] {
				left++
			}
		}
		w.ids = ids
	} else if time.Since(w.shownAt) > maxStale {
		w.shown = samples{}
	}
	checkUserSeries(t, s, shortened(w.shown))
	if timestamp, ok := s["factory_listing_timestamp_seconds"]; ok != (len(w.shown) > 0) || ok && timestamp != unix(w.shownAt) {
		t.Errorf("factory_listing_timestamp_seconds is %g (there: %v), want %g", timestamp, ok, unix(w.shownAt))
	}

	moves := samples{
		"factory_api_requests_total": float64(want.requests),
		"factory_users_joined_total": float64(joined),
		"factory_users_left_total":   float64(left),
	}
	if want.errors > 0 {
		moves[`factory_api_errors_total{status="`+w.fault.status+`"}`] = float64(want.errors)
	}
	for series, value := range s {
		if strings.HasPrefix(series, "factory_api_errors_total{") || moves[series] > 0 {
			if moved := value - w.last[series]; moved != moves[series] {
				t.Errorf("%s moved by %g, want %g", series, moved, moves[series])
			}
		}
	}
	for series := range moves {
		if _, ok := s[series]; !ok {
			t.Errorf("%s is missing", series)
		}
	}
	stats := w.api.Stats()
	if arrived := stats.Requests - w.stats.Requests; arrived != want.arrived {
		t.Errorf("%d requests arrived, want %d", arrived, want.arrived)
	}
	if stats.MaxConcurrent > 1 && w.fault.takes == 0 {
		t.Errorf("%d requests at once", stats.MaxConcurrent)
	}

	if !want.ok && !w.failing {
		w.failures++
	}
	w.failing = !want.ok
	w.connected = want.ok
	w.last, w.stats = s, stats
}

// checkLog looks at the whole log, and at what is said on the other pages.
func (w *world) checkLog() {
	t := w.t
	logs := w.logs.String()
	checkNoKey(t, "log", logs)
	for line := range strings.Lines(logs) {
		if !strings.HasPrefix(line, "level=") || len(line) > 700 || !utf8.ValidString(line) {
			t.Errorf("log line of %d bytes, or not UTF-8, or a part of one: %.1000q", len(line), line)
		}
	}
	recovered := w.failures
	if w.failing {
		recovered--
	}
	if got := strings.Count(logs, "level=error"); got != w.failures {
		t.Errorf("%d errors in the log, want %d", got, w.failures)
	}
	if got := strings.Count(logs, "level=info"); got != recovered {
		t.Errorf("%d recoveries in the log, want %d", got, recovered)
	}
	if got := strings.Count(logs, "level=warn"); got != 0 {
		t.Errorf("%d warnings in the log, want 0", got)
	}
	if t.Failed() {
		t.Logf("the log:\n%s", logs)
	}
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nothing"} {
		_, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter"+path)
		checkNoKey(t, path, body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, host := range w.hosts {
		if host != "localhost" {
			t.Errorf("%s was asked", host)
		}
	}
}

func TestKeyRejectedForHoursIsLoggedTwice(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &fault{status: strconv.Itoa(status)})
			w.check()
			w.fault.serve = refuse(status)
			w.inject(1, 0)
			for range 12 * 60 {
				w.check()
			}
			w.repair()
			w.check()
			w.check()
			w.checkLog() // one error, one recovery
			if requests := w.last["factory_api_requests_total"]; requests != 12*60+3*matrixPages {
				t.Errorf("%g requests, want one a scrape while the key was rejected", requests)
			}
		})
	}
}

func TestScrapesThatWaitShareTheRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "--web.max-requests=0")
		w.api.Inject(fakeapi.Fault{Serve: refuse(500)})
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() { fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics") })
		}
		group.Wait()
		if got := w.api.Stats(); got.Requests != 4 || got.MaxConcurrent != 1 {
			t.Errorf("200 scrapes led to %d requests, %d at once; want 4 and 1", got.Requests, got.MaxConcurrent)
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
				w := newWorld(t, nil, "--factory.max-retries=100", "--factory.request-timeout=1h")
				w.api.Inject(fakeapi.Fault{Serve: test.serve})
				for i := 1.0; i <= 3; i++ {
					begin := time.Now()
					_, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
					if took := time.Since(begin); took != test.took {
						t.Errorf("the listing took %s, want %s", took, test.took)
					}
					s := parseSamples(t, body)
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

func TestNothingRunsWithoutScrapes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, want := range []int{0, matrixPages, 2 * matrixPages} {
			for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nothing"} {
				fetchWith(t, w.exporter, http.MethodGet, "http://exporter"+path)
			}
			time.Sleep(48 * time.Hour)
			if got := w.api.Stats().Requests; got != want {
				t.Errorf("%d requests to the API, want %d", got, want)
			}
			fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
		}
	})
}

// TestLargeBodiesTakeLittleMemory is not parallel: it measures what the whole process allocates.
func TestLargeBodiesTakeLittleMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve fakeapi.Behavior
		most  int // bytes sent
	}{
		{"endless", fakeapi.Endless(), 17 << 20},
		{"64 MiB", large(64 << 20), 17 << 20},
		{"64 MiB, compressed", compressed(bytes.Repeat([]byte(" "), 64<<20)), 1 << 20},
		{"endless error", endless(500), 1 << 20},
		{"a million users", respond(200, "application/json", `{"users":[`+strings.Repeat(`{"id":"a"},`, 1<<20)+`{"id":"a"}],"pagination":{"hasMore":false}}`), 17 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil, "--factory.max-retries=0")
				sent := &countingWriter{}
				w.api.Inject(fakeapi.Fault{Serve: func(rw http.ResponseWriter, r *http.Request, page []byte) {
					sent.ResponseWriter = rw
					test.serve(sent, r, page)
				}})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
				synctest.Wait()
				runtime.ReadMemStats(&after)
				if s := parseSamples(t, body); s["factory_up"] != 0 || s["factory_api_requests_total"] != 1 {
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

// TestFaultsOnTheNetwork runs the program as a process of its own against what a network in memory
// cannot show. A listing has one page here, and no retries.
func TestFaultsOnTheNetwork(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second
	elsewhere := fakeapi.NewServer(fakeapi.NewOrganization(), testKey)
	elsewhereURL := serveAPI(t, elsewhere)
	rows := []struct {
		name   string
		serve  fakeapi.Behavior
		status string
		takes  time.Duration
	}{
		{"401", refuse(401), "401", 0},
		{"503", refuse(503), "503", 0},
		{"a redirect to another host", redirect(307, elsewhereURL+fakeapi.UsersPath+"?"), "307", 0},
		{"a reset", fakeapi.Reset(), "connection", 0},
		{"a transfer cut half way", fakeapi.CutTransfer(), "connection", 0},
		{"JSON cut half way", fakeapi.CutJSON(), "invalid_response", 0},
		// No endless body: reading 16 MiB of it in time would be a matter of the machine.
		{"a hang before the headers", fakeapi.Hang(), "timeout", patience},
		{"a hang inside the body", fakeapi.HangInBody(), "timeout", patience},
		{"a byte every 20 ms", fakeapi.Trickle(20 * time.Millisecond), "timeout", patience},
	}
	authority := newAuthority(t)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			members := members(40, time.Now())
			api := fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)
			var met atomic.Value
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				met.Store(r.Proto)
				api.ServeHTTP(w, r)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			if protocol == "HTTP/2.0" {
				server.EnableHTTP2 = true
				server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "127.0.0.1")}}
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			p := startItself(t, []string{"SSL_CERT_FILE=" + authority.file},
				withKey(t, "--factory.url="+server.URL, "--factory.max-retries=0", "--factory.request-timeout="+patience.String(),
					"--collector.max-stale=0s", "--log.level=debug")...)
			last := p.scrape(t)
			for _, row := range rows {
				api.Inject(fakeapi.Fault{Serve: row.serve})
				begin := time.Now()
				s := p.scrape(t)
				took := time.Since(begin)
				checkFailure(t, row.name, s, last, row.status)
				if most := row.takes + 10*time.Second; took < row.takes || took > most {
					t.Errorf("%s: it took %s, want %s to %s", row.name, took, row.takes, most)
				}
				api.ClearFaults()
				last = p.scrape(t)
				checkRecovery(t, row.name, last, members)
			}
			if met.Load() != protocol {
				t.Errorf("the API was asked with %s", met.Load())
			}
			if requests := elsewhere.Stats().Requests; requests != 0 {
				t.Errorf("the other host got %d requests", requests)
			}
			p.stop()
			checkNoKey(t, "the log", p.stderr.String())
		})
	}
}

// The rows of the matrix that fail before HTTP begins get their errors from a dialler. These get
// them from the network, and recover when the cause is mended.
func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	members := members(40, time.Now())
	api := fakeapi.NewServer(fakeapi.NewOrganization(members...), testKey)

	// withCertificate serves the API with a bad certificate until that is mended.
	withCertificate := func(bad tls.Certificate) func(*testing.T) (string, func()) {
		return func(t *testing.T) (string, func()) {
			var mended atomic.Bool
			server := httptest.NewUnstartedServer(api)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "127.0.0.1")}}
			server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				if mended.Load() {
					return nil, nil
				}
				return &tls.Config{Certificates: []tls.Certificate{bad}}, nil
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.URL, func() { mended.Store(true) }
		}
	}
	for _, test := range []struct {
		name  string
		serve func(*testing.T) (url string, mend func()) // mend is nil where that is in nobody's hands
		want  string                                     // in the log
	}{
		{"nobody listens", func(t *testing.T) (string, func()) {
			address, listen := reservePort(t)
			return "http://" + address, func() { serveOn(t, listen(), &http.Server{Handler: api}) }
		}, "connection refused"},
		// A label of a name has 63 letters at most: no resolver needs to be asked, and none is.
		{"a name that nobody can have", func(*testing.T) (string, func()) {
			return "https://" + strings.Repeat("a", 64) + ".invalid", nil
		}, "no such host"},
		{"a certificate of an unknown authority", withCertificate(newAuthority(t).issue(t, "127.0.0.1")), "x509"},
		{"a certificate of another host", withCertificate(authority.issue(t, "elsewhere.example")), "x509"},
		{"a certificate that has expired", withCertificate(authority.issueUntil(t, time.Now().Add(-time.Hour), "127.0.0.1")), "x509"},
		{"plain HTTP where TLS is expected", func(t *testing.T) (string, func()) {
			return "https" + strings.TrimPrefix(serveAPI(t, api), "http"), nil
		}, "TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url, mend := test.serve(t)
			p := startItself(t, []string{"SSL_CERT_FILE=" + authority.file},
				withKey(t, "--factory.url="+url, "--factory.max-retries=1", "--log.level=debug")...)
			s := p.scrape(t)
			if s["factory_up"] != 0 || s["factory_api_requests_total"] != 2 || s[`factory_api_errors_total{status="connection"}`] != 2 {
				t.Errorf("factory_up is %g, with %g of %g requests failed to connect; want 0 and 2 of 2",
					s["factory_up"], s[`factory_api_errors_total{status="connection"}`], s["factory_api_requests_total"])
			}
			if users := s.userSeries(); len(users) > 0 {
				t.Errorf("there are numbers: %v", users)
			}
			if mend != nil {
				mend()
				checkRecovery(t, "mended", p.scrape(t), members)
			}
			p.stop()
			if log := p.stderr.String(); !strings.Contains(log, test.want) {
				t.Errorf("the log lacks %q:\n%s", test.want, log)
			}
			checkNoKey(t, "the log", p.stderr.String())
		})
	}
}

// Below: what the tests share, and the answers that fakeapi does not have.

// checkFailure checks a scrape whose listing failed with one request, after another scrape.
func checkFailure(t *testing.T, name string, s, before samples, status string) {
	t.Helper()
	if up, ok := s["factory_up"]; !ok || up != 0 {
		t.Errorf("%s: factory_up is %g (there: %v), want 0", name, up, ok)
	}
	if _, ok := s["factory_users"]; ok {
		t.Errorf("%s: factory_users is there", name)
	}
	for series, value := range s {
		want := 0.0
		switch series {
		case "factory_api_requests_total", `factory_api_errors_total{status="` + status + `"}`:
			want = 1
		default:
			if !strings.HasPrefix(series, "factory_api_errors_total") {
				continue
			}
		}
		if moved := value - before[series]; moved != want {
			t.Errorf("%s: %s moved by %g, want %g", name, series, moved, want)
		}
	}
}

// checkRecovery checks a scrape whose listing had one page, of these members.
func checkRecovery(t *testing.T, name string, s samples, members []fakeapi.Member) {
	t.Helper()
	if up := s["factory_up"]; up != 1 {
		t.Errorf("%s: factory_up is %g afterwards", name, up)
	}
	var people []person
	for _, m := range members {
		people = append(people, personOf(m))
	}
	want := countByHand(people, []string{"1d", "7d", "30d", "90d"}, nil, s.listingStart())
	maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.HasPrefix(series, "factory_user_") })
	want["factory_listing_pages"] = 1
	checkUserSeries(t, s, want)
}

// reservePort returns an address that refuses connections until listen is called. The port is bound
// all the while, so that nobody else gets it.
func reservePort(t *testing.T) (address string, listen func() net.Listener) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(socket), "socket")
	t.Cleanup(func() { file.Close() })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
	return address, func() net.Listener {
		if err := syscall.Listen(socket, 10); err != nil {
			t.Fatal(err)
		}
		listener, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
}

// servePipe serves on a network in memory until the test ends.
func servePipe(t *testing.T, server *http.Server) *fakeapi.Pipe {
	pipe := fakeapi.NewPipe()
	serveOn(t, pipe, server)
	return pipe
}

// serveOn serves what a listener accepts until the test ends, with TLS if the server is configured
// for it.
func serveOn(t *testing.T, listener net.Listener, server *http.Server) {
	served := make(chan error)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(listener, "", "")
		} else {
			served <- server.Serve(listener)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
}

// newTestServer returns the server of an exporter whose key is testKey and whose requests
// go by transport.
func newTestServer(t *testing.T, cfg *config, transport http.RoundTripper, logs io.Writer) *http.Server {
	t.Helper()
	key, err := factoryapi.NewStaticKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	api := cfg.api
	api.Credentials, api.Transport = key, transport
	logger := newLogger(logs, cfg.logLevel, cfg.logFormat)
	handler, stop, err := newExporter(cfg, api, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return newServer(handler, logger)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hashes are what stands for the rest of a label value that is too long.
var hashes = regexp.MustCompile(`…[0-9a-f]{32}`)

// shortened shortens label values that are too long, as the exporter does.
func shortened(s samples) samples {
	const limit = 128
	short := samples{}
	for series, value := range s {
		name, labels, _ := strings.Cut(series, `{`)
		parts := strings.Split(labels, `",`)
		for i, part := range parts {
			label, text, ok := strings.Cut(part, `="`)
			if ok && len(text) > 1000 { // nothing is in between
				end := ""
				if i == len(parts)-1 {
					end = `"}`
				}
				parts[i] = label + `="` + text[:limit-len("…")-32] + "…HASH" + end
			}
		}
		if labels != "" {
			name += "{" + strings.Join(parts, `",`)
		}
		short[name] = value
	}
	return short
}

// withCursors tells the answers which cursors were asked for in this listing.
func withCursors(api http.Handler) http.Handler {
	var mu sync.Mutex
	var cursors []string
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		cursor := r.URL.Query().Get("cursor")
		if cursor == "" {
			cursors = nil
		}
		if len(cursors) == 0 || cursors[len(cursors)-1] != cursor {
			cursors = append(cursors, cursor)
		}
		ctx := context.WithValue(r.Context(), cursorsKey{}, slices.Clone(cursors))
		mu.Unlock()
		r = r.WithContext(ctx)
		if original, ok := strings.CutPrefix(cursor, emptyPagePrefix); ok {
			r.URL.RawQuery = "" // the page that emptyPage held back
			query := r.URL.Query()
			query.Set("limit", strconv.Itoa(matrixPageSize))
			if original != "" {
				query.Set("cursor", original)
			}
			r.URL.RawQuery = query.Encode()
		}
		api.ServeHTTP(w, r)
	})
}

type cursorsKey struct{}

func cursorsOf(r *http.Request) []string { return r.Context().Value(cursorsKey{}).([]string) }

// cursorAgain sends the page with the cursor that led to it, or to one so many pages before.
func cursorAgain(before int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		cursors := cursorsOf(r)
		fakeapi.Cursor(cursors[len(cursors)-1-before])(w, r, page)
	}
}

const emptyPagePrefix = "empty:"

// emptyPage sends an empty page, whose cursor leads to the page that should have been sent.
func emptyPage() fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		cursors := cursorsOf(r)
		cursor := cursors[len(cursors)-1]
		if strings.HasPrefix(cursor, emptyPagePrefix) {
			success(200)(w, r, page)
			return
		}
		body, err := json.Marshal(map[string]any{
			"users":      []any{},
			"pagination": map[string]any{"hasMore": true, "nextCursor": emptyPagePrefix + cursor},
		})
		if err != nil {
			panic(err)
		}
		fakeapi.Respond(200, "application/json", string(body))(w, r, page)
	}
}

// refuse answers with a status, a header of these names and values, and an error body that echoes
// the key.
func refuse(status int, header ...string) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		body, err := json.Marshal(map[string]any{
			"detail":   "no access\nfor " + r.Header.Get("Authorization") + strings.Repeat(" and nobody else", 100),
			"status":   status,
			"title":    http.StatusText(status),
			"metadata": map[string]any{"key": r.Header.Get("Authorization")},
		})
		if err != nil {
			panic(err)
		}
		fakeapi.Respond(status, "application/json", string(body))(w, r, page)
	}
}

const htmlPage = "<!DOCTYPE html>\n<html><body>\n<h1>Not for KEY</h1>\n" +
	"<p>nor for KEY nor for KEY nor for KEY nor for KEY nor for KEY nor for KEY</p></body></html>\n"

// respond answers with this body, in which KEY is the key.
func respond(status int, contentType, body string) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		fakeapi.Respond(status, contentType, strings.ReplaceAll(body, "KEY", keyOf(r)))(w, r, page)
	}
}

// respondCut answers with an echo of the key that breaks off half way.
func respondCut(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		echo := "no access for " + keyOf(r)
		w.Header().Set("Content-Length", strconv.Itoa(len(echo)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, echo[:len(echo)-len(keyOf(r))/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // net/http ends the connection
	}
}

func keyOf(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// retryAt answers 429 with a date that is so far away.
func retryAt(after time.Duration) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		refuse(http.StatusTooManyRequests, "Retry-After", time.Now().Add(after).UTC().Format(http.TimeFormat))(w, r, page)
	}
}

// retryAtOther asks to wait until a time of a clock that is an hour ahead.
func retryAtOther(after time.Duration) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		clock := time.Now().Add(time.Hour).UTC()
		refuse(http.StatusTooManyRequests, "Date", clock.Format(http.TimeFormat), "Retry-After", clock.Add(after).Format(http.TimeFormat))(w, r, page)
	}
}

// redirect answers with a Location that the key is added to.
func redirect(status int, to string) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.Header().Set("Location", to+keyOf(r))
		refuse(status)(w, r, page)
	}
}

// success sends the page with a status of one's own.
func success(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		fakeapi.Respond(status, "application/json", string(page))(w, r, page)
	}
}

func with(header, value string, then fakeapi.Behavior) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.Header().Set(header, value)
		then(w, r, page)
	}
}

// compressed sends a body as the client asks for it: compressed.
func compressed(body []byte) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			http.Error(w, "this client does not unpack", http.StatusNotAcceptable)
			return
		}
		with("Content-Encoding", "gzip", fakeapi.Respond(200, "application/json", string(zipped(body))))(w, r, page)
	}
}

func zipped(body []byte) []byte {
	var packed bytes.Buffer
	packer := gzip.NewWriter(&packed)
	_, err := packer.Write(body)
	if err = errors.Join(err, packer.Close()); err != nil {
		panic(err)
	}
	return packed.Bytes()
}

// late sends the page after a while.
func late(after time.Duration) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		time.Sleep(after)
		success(200)(w, r, page)
	}
}

// endless answers with a status and a body that never ends.
func endless(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.WriteHeader(status)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(keyOf(r), 100)); err != nil {
				return
			}
		}
	}
}

// large is fakeapi.Large, made once: it is sent often.
func large(size int) fakeapi.Behavior {
	padding := []byte(`{"padding":"` + strings.Repeat("x", size) + `",`)
	return func(w http.ResponseWriter, _ *http.Request, page []byte) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(padding)+len(page)-len("{")))
		if _, err := w.Write(padding); err == nil {
			_, _ = w.Write(page[len("{"):])
		}
	}
}

// raw sends bytes that need not be HTTP, in which KEY is the key, and ends the connection.
func raw(text string) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, strings.ReplaceAll(text, "KEY", keyOf(r))) // whether or not anybody reads it
	}
}

func endlessHeader() fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(conn, "X-Echo: "+keyOf(r)+"\r\n")
		}
	}
}

func dialError(err error) func(context.Context) error {
	return func(context.Context) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
}

func edit(field string, value any) fakeapi.Behavior {
	return fakeapi.Edit(func(page map[string]any) { page[field] = value })
}

func editUsers(change func(user map[string]any)) fakeapi.Behavior {
	return fakeapi.Edit(func(page map[string]any) {
		for _, user := range page["users"].([]any) {
			change(user.(map[string]any))
		}
	})
}

func sendTeam(value any) fakeapi.Behavior {
	return editUsers(func(user map[string]any) { user["metadata"].(map[string]any)["team"] = value })
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
