package fakeapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

// What arrives when a page is spoilt, over real connections. Behaviors that take time are
// in TestSlowBehaviors.
func TestBehaviors(t *testing.T) {
	members := fakeapi.Generate(10, 1, noon())
	good := get(fakeapi.NewServer(fakeapi.NewOrganization(members...), key), "").Body.Bytes()

	for _, tt := range []struct {
		name   string
		serve  fakeapi.Behavior
		status int
		header string // "Name: value"
		body   func(body []byte) bool
	}{
		{"status", fakeapi.Status(429, "Retry-After", "7"), 429, "Retry-After: 7", func(body []byte) bool {
			return bytes.Contains(body, []byte(`"status":429,"title":"Too Many Requests","metadata":{}`))
		}},
		{"respond", fakeapi.Respond(200, "text/html", "<html>"), 200, "Content-Type: text/html", func(body []byte) bool {
			return string(body) == "<html>"
		}},
		{"redirect", fakeapi.Redirect("https://elsewhere.example/"), 302, "Location: https://elsewhere.example/", func([]byte) bool {
			return true
		}},
		{"edit", fakeapi.Edit(func(page map[string]any) { delete(page, "users") }), 200, "Content-Type: application/json", func(body []byte) bool {
			return string(body) == `{"pagination":{"hasMore":false,"nextCursor":null}}`
		}},
		{"cursor", fakeapi.Cursor("again"), 200, "Content-Type: application/json", func(body []byte) bool {
			var p page
			err := json.Unmarshal(body, &p)
			return err == nil && p.Pagination.HasMore && *p.Pagination.NextCursor == "again" && len(p.Users) == 10
		}},
		{"edit users", fakeapi.EditUsers(func(user map[string]any) { user["id"] = "x" }), 200, "Content-Type: application/json", func(body []byte) bool {
			return bytes.Count(body, []byte(`"id":"x"`)) == len(members) && !bytes.Contains(body, []byte("user_"))
		}},
		{"page with another status", fakeapi.PageWith(206), 206, "Content-Type: application/json", func(body []byte) bool {
			return bytes.Equal(body, good)
		}},
		{"with a header", fakeapi.WithHeader("X-Other", "7", fakeapi.Status(403)), 403, "X-Other: 7", func(body []byte) bool {
			return bytes.Contains(body, []byte(`"status":403`))
		}},
		{"compressed", fakeapi.Compressed(fakeapi.PageWith(201)), 201, "Content-Type: application/json", func(body []byte) bool {
			return bytes.Equal(body, good) // the transport asks for gzip, and unpacks it
		}},
		{"half", fakeapi.Half(fakeapi.Respond(403, "text/plain", "0123456789")), 403, "Content-Length: 5", func(body []byte) bool {
			return string(body) == "01234"
		}},
		{"replace", fakeapi.Replace(`"user_`, "\"\xff"), 200, "Content-Type: application/json", func(body []byte) bool {
			return bytes.Count(body, []byte{0xff}) == 10 && !bytes.Contains(body, []byte("user_"))
		}},
		{"large", fakeapi.Large(1 << 20), 200, "Content-Type: application/json", func(body []byte) bool {
			return len(body) > 1<<20+len(good) && json.Valid(body) && bytes.HasSuffix(body, good[1:])
		}},
		{"cut JSON", fakeapi.CutJSON(), 200, "Content-Type: application/json", func(body []byte) bool {
			return bytes.Equal(body, good[:len(good)/2])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, target := spoilt(t, members, tt.serve)
			answer, err := ask(t.Context(), direct(t), target)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != tt.status {
				t.Errorf("status %d, want %d", answer.StatusCode, tt.status)
			}
			name, value, _ := strings.Cut(tt.header, ": ")
			if got := answer.Header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
			if !tt.body(body) {
				t.Errorf("body %.200q", body)
			}
		})
	}
}

func TestCutTransferBreaksOffInTheBody(t *testing.T) {
	_, target := spoilt(t, fakeapi.Generate(10, 1, noon()), fakeapi.CutTransfer())
	answer, err := ask(t.Context(), direct(t), target)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || int64(len(body)) != answer.ContentLength/2 {
		t.Errorf("%d of %d bytes, then %v", len(body), answer.ContentLength, err)
	}
}

func TestResetOnANewConnection(t *testing.T) {
	_, target := spoilt(t, nil, fakeapi.Reset())
	if _, err := ask(t.Context(), direct(t), target); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want a reset", err)
	}
}

func TestResetOnAUsedConnectionIsRepeatedByTheTransport(t *testing.T) {
	server, target := spoilt(t, nil, nil)
	client := direct(t)
	for range 2 {
		answer, err := ask(t.Context(), client, target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(answer.Body); err != nil {
			t.Fatal(err)
		}
		server.Inject(fakeapi.Fault{Times: 1, Serve: fakeapi.Reset()})
	}
	if got := server.Stats(); got.Requests != 3 || got.Faulted != 1 {
		t.Errorf("stats %+v, want 3 requests, 1 of them spoilt", got)
	}
}

func TestHalfOfACompressedAnswerCannotBeUnpacked(t *testing.T) {
	_, target := spoilt(t, fakeapi.Generate(10, 1, noon()), fakeapi.Half(fakeapi.Compressed(fakeapi.PageWith(200))))
	answer, err := ask(t.Context(), direct(t), target)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(answer.Body); !errors.Is(err, io.ErrUnexpectedEOF) || !answer.Uncompressed {
		t.Errorf("%d bytes of gzip (%t), then %v", len(body), answer.Uncompressed, err)
	}
}

func TestCompressedAnswersAreForWhoAsks(t *testing.T) {
	_, target := spoilt(t, nil, fakeapi.Compressed(fakeapi.PageWith(200)))
	client := direct(t)
	client.Transport.(*http.Transport).DisableCompression = true
	answer, err := ask(t.Context(), client, target)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusNotAcceptable {
		t.Errorf("status %d, want 406", answer.StatusCode)
	}
}

func TestRawNeedNotBeHTTP(t *testing.T) {
	_, target := spoilt(t, nil, fakeapi.Raw("SSH-2.0-x\r\n\r\n"))
	if _, err := ask(t.Context(), direct(t), target); err == nil || !strings.Contains(err.Error(), "malformed HTTP") {
		t.Errorf("error %v", err)
	}
}

func TestCursorsOfOtherPages(t *testing.T) {
	members := fakeapi.Generate(7, 1, noon())
	cursors := func(behavior fakeapi.Behavior, page int) (cursors []string) { // of a listing by 2, up to that page
		server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
		server.Inject(fakeapi.Fault{Page: page, Serve: behavior})
		query := "limit=2"
		for range page {
			cursor := *decode(t, get(server, query)).Pagination.NextCursor
			cursors = append(cursors, cursor)
			query = "limit=2&cursor=" + url.QueryEscape(cursor)
		}
		return cursors
	}
	for _, tt := range []struct {
		page, earlier int
		again         int // the index in cursors, from 0; -1: empty
	}{{2, 0, 0}, {3, 0, 1}, {3, 1, 0}, {4, 2, 0}, {4, 1, 1}, {1, 0, -1}, {2, 1, -1}, {2, 5, -1}} {
		got := cursors(fakeapi.CursorAgain(tt.earlier), tt.page)
		want := ""
		if tt.again >= 0 {
			want = got[tt.again]
		}
		if last := got[len(got)-1]; last != want {
			t.Errorf("page %d has the cursor %q, want that of %d pages earlier, %q", tt.page, last, tt.earlier, want)
		}
	}
}

func TestEmptyPageIsFollowedByThePageHeldBack(t *testing.T) {
	members := fakeapi.Generate(7, 1, noon())
	for page := range 5 { // 0: all
		server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
		server.Inject(fakeapi.Fault{Page: page, Times: 3, Serve: fakeapi.EmptyPage()})
		pages := list(t, server, 2, nil)
		if want := memberIDs(members); !slices.Equal(idsOf(pages...), want) {
			t.Errorf("empty page %d: ids %q, want %q", page, idsOf(pages...), want)
		}
		empty := 1
		if page == 0 {
			empty = 3
		}
		if len(pages) != 4+empty || len(pages[max(0, page-1)].Users) != 0 {
			t.Errorf("empty page %d: %d pages", page, len(pages))
		}
	}
}

func TestEndlessAnswersEndWhenTheClientGoesAway(t *testing.T) {
	for name, endless := range map[string]fakeapi.Behavior{"page": fakeapi.Endless(), "error": fakeapi.EndlessError(500, "text ")} {
		t.Run(name, func(t *testing.T) {
			_, target := spoilt(t, nil, endless)
			answer, err := ask(t.Context(), direct(t), target)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.CopyN(io.Discard, answer.Body, 4<<20); err != nil {
				t.Errorf("ended after %d bytes: %v", n, err)
			}
			// The server's Close waits for its handlers.
		})
	}
}

func TestEndlessHeaderIsMoreThanAClientTakes(t *testing.T) {
	_, target := spoilt(t, nil, fakeapi.EndlessHeader("X-Echo: text"))
	if _, err := ask(t.Context(), direct(t), target); err == nil || !strings.Contains(err.Error(), "response headers exceeded") {
		t.Errorf("error %v", err)
	}
}

func TestSlowBehaviors(t *testing.T) {
	members := fakeapi.Generate(10, 1, noon())
	good := get(fakeapi.NewServer(fakeapi.NewOrganization(members...), key), "").Body.Bytes()
	half := good[:len(good)/2]

	for _, tt := range []struct {
		name  string
		serve fakeapi.Behavior
		took  time.Duration
		body  []byte
		err   error
	}{
		{"hang", fakeapi.Hang(), time.Hour, nil, context.DeadlineExceeded},
		{"hang in body", fakeapi.HangInBody(), time.Hour, half, context.DeadlineExceeded},
		{"delay", fakeapi.Delay(time.Minute, fakeapi.PageWith(200)), time.Minute, good, nil},
		{"delay for too long", fakeapi.Delay(2*time.Hour, fakeapi.PageWith(200)), time.Hour, nil, context.DeadlineExceeded},
		{"trickle", fakeapi.Trickle(time.Second), time.Duration(len(good)-1) * time.Second, good, nil},
		{"trickle for too long", fakeapi.Trickle(time.Hour/time.Duration(len(half)) + 1), time.Hour, half, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
				server.Inject(fakeapi.Fault{Serve: tt.serve})
				pipe := servePipe(t, server)
				client := &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext, DisableKeepAlives: true}}

				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				begin := time.Now()
				body, err := read(ctx, client, "http://factory")
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
				if !bytes.Equal(body, tt.body) {
					t.Errorf("read %d bytes, want %d", len(body), len(tt.body))
				}
				if got := time.Since(begin); got != tt.took {
					t.Errorf("took %v, want %v", got, tt.took)
				}
				synctest.Wait()
				if got := server.Stats(); got.InFlight != 0 {
					t.Errorf("stats %+v, want nothing in flight", got)
				}
			})
		})
	}
}

// spoilt serves members, all requests spoilt by serve unless it is nil. It returns the
// base URL.
func spoilt(t *testing.T, members []fakeapi.Member, serve fakeapi.Behavior) (*fakeapi.Server, string) {
	t.Helper()
	server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
	if serve != nil {
		server.Inject(fakeapi.Fault{Serve: serve})
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return server, listening.URL
}

// direct returns a client with connections of its own that follows no redirects.
func direct(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends one request. The caller need not close the body: the context does.
func ask(ctx context.Context, client *http.Client, baseURL string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", baseURL+fakeapi.UsersPath, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	return client.Do(request)
}

// read returns the body of one answer, as far as it came.
func read(ctx context.Context, client *http.Client, baseURL string) ([]byte, error) {
	answer, err := ask(ctx, client, baseURL)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}
