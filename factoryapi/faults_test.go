package factoryapi_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// faults are ways in which a request can fail that have the same outcome.
type faults struct {
	reason string        // what each try counts as
	tries  int           // 4 if there are retries
	takes  time.Duration // until a try ends
	serve  map[string]fakeapi.Behavior
}

// allFaults are the ways in which an answer can fail. To add one, add it to its outcome;
// where fakeapi has no behavior for it, add that there if other tests may want it. What
// can be wrong with the JSON of a page is in decode_test.go and users_test.go. Answers
// echo the key wherever there is room for it.
func allFaults(t *testing.T) []faults {
	const closing = "Connection: close\r\n\r\n"
	ok := fakeapi.PageWith(http.StatusOK)
	all := []faults{
		{"connection", 4, 0, map[string]fakeapi.Behavior{
			"a reset":                            fakeapi.Reset(),
			"a transfer cut half way":            fakeapi.CutTransfer(),
			"chunks cut half way":                cutChunks,
			"a compressed transfer cut half way": cutCompressed(t),
			"no HTTP":                            fakeapi.Raw("SSH-2.0-" + key + "\r\n\r\n"),
			"a header cut short":                 fakeapi.Raw("HTTP/1.1 200 OK\r\nX-Echo: " + key[:30]),
			"an endless header":                  fakeapi.EndlessHeader("X-Echo: " + key),
			"the key as a header's name":         fakeapi.Raw("HTTP/1.1 200 OK\r\n" + key + "\r\n" + closing),
			"the key as a status":                fakeapi.Raw("HTTP/1.1 " + key + " Unauthorized\r\n" + closing),
			"the key as a protocol":              fakeapi.Raw(key + "/1.1 401 Unauthorized\r\n" + closing),
			"the key as a length":                fakeapi.Raw("HTTP/1.1 200 OK\r\nContent-Length: " + key + "\r\n" + closing),
			"the key as an encoding":             fakeapi.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + key + "\r\n" + closing),
			"the key as a chunk":                 fakeapi.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + key + "\r\n"),
		}},
		{"timeout", 4, 30 * time.Second, map[string]fakeapi.Behavior{
			"a hang before the headers": fakeapi.Hang(),
			"a hang inside the body":    fakeapi.HangInBody(),
			"a byte a second":           fakeapi.Trickle(time.Second),
		}},
		{"invalid_response", 1, 0, map[string]fakeapi.Behavior{
			"201 with a page":                      fakeapi.PageWith(201),
			"299 with a page":                      fakeapi.PageWith(299),
			"202 with the key":                     fakeapi.WithHeader("Retry-After", "1", fakeapi.Respond(202, "text/plain", key)),
			"204":                                  fakeapi.Respond(204, "", ""),
			"206 with a page":                      fakeapi.PageWith(206),
			"HTML":                                 fakeapi.Respond(200, "text/html", "<html>"+key+"</html>"),
			"the key alone":                        fakeapi.Respond(200, "text/plain", key),
			"an error body":                        fakeapi.Respond(200, "application/json", `{"detail":"`+key+`","status":401,"title":"Unauthorized"}`),
			"an id that breaks off within the key": fakeapi.Respond(200, "application/json", `{"users":[{"id":"`+key[:30]),
			"a user without an id":                 fakeapi.Respond(200, "application/json", lastPage(`{"`+key+`":"`+key+`"}`)),
			"JSON cut half way":                    fakeapi.CutJSON(),
			"a body that only claims to be compressed": fakeapi.WithHeader("Content-Encoding", "gzip", ok),
			"a compressed body cut in a whole message": fakeapi.CutCompressed(),
			"an endless body":                          fakeapi.Endless(),
			"a cursor of 5 KiB":                        fakeapi.Cursor(strings.Repeat("c", 5<<10)),
			"no cursor":                                fakeapi.Cursor(""),
			"the cursor that led here":                 fakeapi.CursorAgain(),
		}},
		{"500", 4, 0, map[string]fakeapi.Behavior{
			"with HTML":            fakeapi.Respond(500, "text/html", "<h1>Not for "+key+"</h1>"),
			"without a body":       fakeapi.Respond(500, "", ""),
			"with an endless body": fakeapi.EndlessError(500, key),
		}},
		{"403", 1, 0, map[string]fakeapi.Behavior{
			"that ends within the key":   refuseCut(403),
			"with the key as its title":  fakeapi.Respond(403, "application/json", `{"title":"`+key+`"}`),
			"with another body":          fakeapi.Respond(403, "application/json", `{"key":"`+key+`"}`),
			"with the key as its status": fakeapi.Raw("HTTP/1.1 403 " + key + "\r\n" + closing),
		}},
		{"302", 1, 0, map[string]fakeapi.Behavior{
			"to another host by the same scheme":  refuse(302, "Location", "//elsewhere.example/"+key),
			"to another port":                     refuse(302, "Location", "http://localhost:8081/"+key),
			"to the same host under another name": refuse(302, "Location", "http://127.0.0.1/?key="+key),
			"to another user of the same host":    refuse(302, "Location", "http://key@localhost/?key="+key),
			"to a log-in page":                    refuse(302, "Location", "/login?next="+key),
			"to what is not a URL":                refuse(302, "Location", "https://[elsewhere/ %zz"+key),
			"without a location":                  refuse(302),
		}},
	}
	for _, status := range []int{429, 500, 501, 502, 503, 504, 529, 599} {
		all = append(all, faults{strconv.Itoa(status), 4, 0, map[string]fakeapi.Behavior{"": refuse(status, "Retry-After", key)}})
	}
	for _, status := range []int{400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 418, 422, 425, 431, 451, 499} {
		all = append(all, faults{strconv.Itoa(status), 1, 0, map[string]fakeapi.Behavior{"": refuse(status, "Retry-After", "1")}})
	}
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		all = append(all, faults{strconv.Itoa(status), 1, 0, map[string]fakeapi.Behavior{"to another host": refuse(status, "Location", "https://elsewhere.example/"+key)}})
	}
	return all
}

// TestFaults lets each fault strike each of three pages, once, twice and for ever.
func TestFaults(t *testing.T) {
	for _, outcome := range allFaults(t) {
		for name, fault := range outcome.serve {
			t.Run(outcome.reason+" "+name, func(t *testing.T) {
				t.Parallel()
				for page := 1; page <= 3; page++ {
					for _, times := range []int{1, 2, 0} {
						if outcome.tries > 1 || times == 0 {
							synctest.Test(t, func(t *testing.T) { strike(t, outcome, fault, page, times) })
						}
					}
				}
			})
		}
	}
}

// strike lists with a fault that strikes a page so many times; 0: for ever.
func strike(t *testing.T, outcome faults, fault fakeapi.Behavior, page, times int) {
	const size, pages = 5, 3
	api := organizationOf(size, fakeapi.Fault{Page: page, Times: times, Serve: fault})
	network := serve(t, api)
	var dialed []string
	transport := factoryapi.NewTransport(nil)
	transport.DisableKeepAlives = true // else net/http repeats a request that was reset
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return network.DialContext(ctx, "", address)
	}
	var seen observer
	log := new(harness.Log)
	client := newClient(t, network, factoryapi.Config{
		Transport: transport, PageSize: 2, MaxRetries: 3, Observe: seen.observe, Logger: log.Logger(),
	})
	begin := time.Now()
	users, err := list(t.Context(), client)
	took := time.Since(begin)
	synctest.Wait()

	want, wantUsers := slices.Repeat([]string{"ok"}, page-1), 2*(page-1)
	if times == 0 {
		want = append(want, slices.Repeat([]string{outcome.reason}, outcome.tries)...)
		if got := apiError(t, err); got.Reason() != outcome.reason || got.Temporary() != (outcome.tries > 1) {
			t.Errorf("page %d: error %v", page, err)
		}
		harness.CheckNoKey(t, "the error", err.Error(), key)
	} else {
		want, wantUsers = append(want, slices.Repeat([]string{outcome.reason}, times)...), size
		want = append(want, slices.Repeat([]string{"ok"}, pages-page+1)...)
		if err != nil {
			t.Errorf("page %d, %d times: %v", page, times, err)
		}
	}
	if got := seen.results(); !slices.Equal(got, want) || seen.mostOpen != 1 || len(users) != wantUsers {
		t.Errorf("page %d, %d times: %d users, requests ended with %q, up to %d at once; want %d, %q", page, times, len(users), got, seen.mostOpen, wantUsers, want)
	}
	failed := len(seen.failures())
	least := time.Duration(failed) * outcome.takes
	if most := least + time.Duration(failed)*2*time.Second; took < least || took > most || outcome.tries == 1 && took != least {
		t.Errorf("page %d, %d times: it took %s", page, times, took)
	}
	if got := api.Stats(); got.InFlight != 0 || got.Requests != len(want) {
		t.Errorf("page %d, %d times: %+v", page, times, got)
	}
	if slices.ContainsFunc(dialed, func(address string) bool { return address != "localhost:80" }) {
		t.Errorf("connections to %v", dialed)
	}
	harness.CheckNoKey(t, "the log", log.String(), key)
}

func TestConnectionsThatFailAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := serve(t, organizationOf(1))
		failures := []error{os.NewSyscallError("connect", syscall.ECONNREFUSED), x509.UnknownAuthorityError{}, &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}}
		dials := 0
		transport := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			if dials++; dials <= len(failures) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: failures[dials-1]}
			}
			return network.DialContext(ctx, "", address)
		}}
		var seen observer
		client := newClient(t, network, factoryapi.Config{Transport: transport, MaxRetries: 3, Observe: seen.observe})
		_, err := list(t.Context(), client)
		if got, want := seen.results(), []string{"connection", "connection", "connection", "ok"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("error %v, requests ended with %q, want %q", err, got, want)
		}
	})
}

// refuse answers with a status, a header of these names and values in turns, and an error
// body.
func refuse(status int, header ...string) fakeapi.Behavior {
	body := fmt.Sprintf(`{"detail":"no access\nfor %[1]s%s","status":%d,"title":"Refused","metadata":{"key":"%[1]s"}}`,
		key, strings.Repeat(" and nobody else", 100), status)
	serve := fakeapi.WithHeader("X-Echo", key, fakeapi.Respond(status, "application/json", body))
	for i := 0; i < len(header); i += 2 {
		serve = fakeapi.WithHeader(header[i], header[i+1], serve)
	}
	return serve
}

// refuseCut answers with a status and an error body that breaks off within the key.
func refuseCut(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		const body = "no access for " + key
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body[:len(body)-len(key)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // net/http ends the connection
	}
}

// cutChunks sends half a page in chunks of a length that was not told, and closes the
// connection.
func cutChunks(w http.ResponseWriter, _ *http.Request, page []byte) {
	_, _ = w.Write(page[:len(page)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func cutCompressed(t *testing.T) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		fakeapi.CutTransfer()(w, r, packed(t, string(page)))
	}
}
