package fakeapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

const key = harness.Key

func TestServerListsEveryMemberOnceAtAnyPageSize(t *testing.T) {
	for _, size := range []int{0, 1, 99, 100, 101, 140, 200} {
		for _, limit := range []int{0, 1, 7, 20, 100} {
			t.Run(fmt.Sprintf("%d members, limit %d", size, limit), func(t *testing.T) {
				members := fakeapi.Generate(size, 1, noon())
				server := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)

				pages := list(t, server, limit, nil)

				perPage := limit
				if perPage == 0 {
					perPage = 20 // the documented default
				}
				if want := max(1, (size+perPage-1)/perPage); len(pages) != want {
					t.Errorf("%d pages, want %d", len(pages), want)
				}
				if got, want := idsOf(pages...), memberIDs(members); !slices.Equal(got, want) {
					t.Errorf("listed %d members, not the %d in order", len(got), len(want))
				}
			})
		}
	}
}

func TestServerKeepsThePositionWhileMembersJoinAndLeave(t *testing.T) {
	for _, limit := range []int{1, 7, 20, 100} {
		t.Run(fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			members := fakeapi.Generate(600, 1, noon())
			start, joining := members[:500], members[500:]
			org := fakeapi.NewOrganization(start...)
			left := make(map[string]bool)
			leave := func(id string) {
				org.Remove(id)
				left[id] = true
			}

			pages := list(t, fakeapi.NewServer(org, key), limit, func(listed page) {
				leave(listed.Users[0].ID)
				leave(listed.Users[len(listed.Users)-1].ID) // the one that the cursor points at
				if rest := org.Members(); len(rest) > limit {
					leave(rest[len(rest)-limit/2-1].ID) // one further on
				}
				if len(joining) > 0 {
					org.Add(joining[0])
					joining = joining[1:]
				}
			})

			times := make(map[string]int)
			for _, id := range idsOf(pages...) {
				times[id]++
			}
			for id, n := range times {
				if n > 1 {
					t.Errorf("%s listed %d times", id, n)
				}
			}
			for _, m := range org.Members() {
				if times[m.ID] != 1 {
					t.Errorf("%s stayed and was listed %d times", m.ID, times[m.ID])
				}
			}
		})
	}
}

func TestServerEndsAListingWhenTheRestHasLeft(t *testing.T) {
	members := fakeapi.Generate(40, 1, noon())
	org := fakeapi.NewOrganization(members...)
	pages := list(t, fakeapi.NewServer(org, key), 20, func(page) { org.Remove(memberIDs(members)...) })
	if len(pages) != 2 || len(pages[1].Users) != 0 {
		t.Errorf("pages of %d users, want 20 and 0", len(idsOf(pages...)))
	}
}

func TestServerRefuses(t *testing.T) {
	server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(3, 1, noon())...), key)
	cursor := *decode(t, get(server, "limit=2")).Pagination.NextCursor

	for _, tt := range []struct {
		name   string
		method string
		target string
		auth   string
		want   int
	}{
		{"no key", "GET", fakeapi.UsersPath, "", 401},
		{"a wrong key", "GET", fakeapi.UsersPath, "Bearer fk-other", 401},
		{"a key without its scheme", "GET", fakeapi.UsersPath, key, 401},
		{"no key for another path", "GET", "/", "", 401},
		{"another path", "GET", "/api/v0/organization", "Bearer " + key, 404},
		{"another method", "POST", fakeapi.UsersPath, "Bearer " + key, 405},
		{"limit 0", "GET", fakeapi.UsersPath + "?limit=0", "Bearer " + key, 400},
		{"limit 101", "GET", fakeapi.UsersPath + "?limit=101", "Bearer " + key, 400},
		{"limit in words", "GET", fakeapi.UsersPath + "?limit=ten", "Bearer " + key, 400},
		{"an empty limit", "GET", fakeapi.UsersPath + "?limit=", "Bearer " + key, 400},
		{"an unknown cursor", "GET", fakeapi.UsersPath + "?cursor=abc", "Bearer " + key, 400},
		{"an empty cursor", "GET", fakeapi.UsersPath + "?cursor=", "Bearer " + key, 400},
		{"a cursor that was not escaped", "GET", fakeapi.UsersPath + "?cursor=" + cursor, "Bearer " + key, 400},
		{"a cursor that was escaped twice", "GET", fakeapi.UsersPath + "?cursor=" + url.QueryEscape(url.QueryEscape(cursor)), "Bearer " + key, 400},
		{"a query that is none", "GET", fakeapi.UsersPath + "?limit=%zz", "Bearer " + key, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := httptest.NewRequest(tt.method, tt.target, nil)
			request.Header.Set("Authorization", tt.auth)
			answer := httptest.NewRecorder()
			server.ServeHTTP(answer, request)

			if answer.Code != tt.want {
				t.Errorf("status %d, want %d", answer.Code, tt.want)
			}
			if got := answer.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
			var body struct {
				Detail, Title string
				Status        int
			}
			if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if body.Status != tt.want || body.Title != http.StatusText(tt.want) || body.Detail == "" {
				t.Errorf("error body %+v", body)
			}
		})
	}
}

func TestServerHandsOutCursorsThatNeedEscaping(t *testing.T) {
	server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(3, 1, noon())...), key)
	cursor := *decode(t, get(server, "limit=2")).Pagination.NextCursor
	for _, c := range "+/=&%" {
		if !strings.ContainsRune(cursor, c) {
			t.Errorf("cursor %q has no %q", cursor, c)
		}
	}
	if answer := get(server, "limit=2&cursor="+url.QueryEscape(cursor)); answer.Code != http.StatusOK {
		t.Errorf("escaped once: status %d", answer.Code)
	}
}

func TestServerTakesARotatedKey(t *testing.T) {
	server := fakeapi.NewServer(fakeapi.NewOrganization(), "fk-old")
	if code := get(server, "").Code; code != http.StatusUnauthorized {
		t.Errorf("before: status %d", code)
	}
	server.SetKey(key)
	if code := get(server, "").Code; code != http.StatusOK {
		t.Errorf("after: status %d", code)
	}
}

func TestServerSpoilsWithTheFirstFaultThatFits(t *testing.T) {
	server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(50, 1, noon())...), key)
	statuses := func() []int {
		var got []int
		query := "limit=20"
		for range 3 {
			answer := get(server, query)
			got = append(got, answer.Code)
			if answer.Code != http.StatusOK {
				answer = get(fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(50, 1, noon())...), key), query)
			}
			if next := decode(t, answer).Pagination.NextCursor; next != nil {
				query = "limit=20&cursor=" + url.QueryEscape(*next)
			}
		}
		return got
	}

	server.Inject(
		fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.Status(501)},
		fakeapi.Fault{Page: fakeapi.LastPage, Times: 2, Serve: fakeapi.Status(502)},
		fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.Status(503)},
	)
	server.Inject(fakeapi.Fault{Page: 1, Serve: fakeapi.Status(504)})
	for i, want := range [][]int{{504, 501, 502}, {504, 503, 502}, {504, 200, 200}} {
		if got := statuses(); !slices.Equal(got, want) {
			t.Errorf("listing %d: statuses %v, want %v", i+1, got, want)
		}
	}
	server.Inject(fakeapi.Fault{Serve: fakeapi.Status(505)})
	if got, want := statuses(), []int{504, 505, 505}; !slices.Equal(got, want) {
		t.Errorf("any page: statuses %v, want %v", got, want)
	}
	if got := server.Stats(); got.Requests != 12 || got.Faulted != 10 {
		t.Errorf("stats %+v, want 12 requests, 10 spoilt", got)
	}
	server.ClearFaults()
	if got, want := statuses(), []int{200, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("cleared: statuses %v, want %v", got, want)
	}
}

func TestServerLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fakeapi.NewServer(fakeapi.NewOrganization(), key)
		server.SetLatency(time.Minute)

		begin := time.Now()
		var requests sync.WaitGroup
		for range 5 {
			requests.Go(func() {
				if code := get(server, "").Code; code != http.StatusOK {
					t.Errorf("status %d", code)
				}
			})
		}
		synctest.Wait()
		if got := server.Stats(); got.InFlight != 5 {
			t.Errorf("during the requests: stats %+v, want 5 in flight", got)
		}
		requests.Wait()
		if got := time.Since(begin); got != time.Minute {
			t.Errorf("answered after %v", got)
		}
		if got, want := server.Stats(), (fakeapi.Stats{Requests: 5, MaxConcurrent: 5}); got != want {
			t.Errorf("after the requests: stats %+v, want %+v", got, want)
		}

		begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", fakeapi.UsersPath, nil))
		if got := time.Since(begin); got != time.Second {
			t.Errorf("a request that ended after a second was let go after %v", got)
		}
	})
}

func TestServerUnderConcurrentChange(t *testing.T) {
	members := fakeapi.Generate(300, 1, noon())
	org := fakeapi.NewOrganization(members[:200]...)
	server := fakeapi.NewServer(org, key)
	var changes sync.WaitGroup
	changes.Go(func() { org.Add(members[200:]...) })
	changes.Go(func() {
		for _, m := range members[:50] {
			org.Remove(m.ID)
		}
	})
	changes.Go(func() {
		for _, m := range members[50:100] {
			org.Update(m.ID, func(m *fakeapi.Member) { m.Metadata["seen"] = "yes" })
		}
	})
	changes.Go(func() {
		for _, m := range org.Members() {
			_ = len(m.Metadata["team"])
		}
	})
	changes.Go(func() { list(t, server, 10, nil) })
	changes.Wait()
	if got := len(idsOf(list(t, server, 100, nil)...)); got != 250 {
		t.Errorf("%d members, want 250", got)
	}
}

func BenchmarkPage(b *testing.B) {
	for _, size := range []int{1_000, 500_000} {
		server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(size, 1, noon())...), key)
		cursor := *decode(b, get(server, "limit=100")).Pagination.NextCursor
		request := httptest.NewRequest("GET", fakeapi.UsersPath+"?limit=100&cursor="+url.QueryEscape(cursor), nil)
		request.Header.Set("Authorization", "Bearer "+key)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			answer := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				server.ServeHTTP(answer, request)
			}
		})
	}
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// page is a page as far as these tests read it.
type page struct {
	Users []struct {
		ID           string
		LastSignInAt string
	}
	Pagination struct {
		HasMore    bool
		NextCursor *string
	}
}

// list pages through all users, and calls after, unless it is nil, after each page but
// the last. With limit 0 none is sent.
func list(t testing.TB, server http.Handler, limit int, after func(page)) []page {
	t.Helper()
	query := url.Values{}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var pages []page
	for {
		p := decode(t, get(server, query.Encode()))
		pages = append(pages, p)
		if !p.Pagination.HasMore {
			if p.Pagination.NextCursor != nil {
				t.Errorf("the last page has cursor %q", *p.Pagination.NextCursor)
			}
			return pages
		}
		if after != nil {
			after(p)
		}
		query.Set("cursor", *p.Pagination.NextCursor)
	}
}

// get asks for one page without a network.
func get(server http.Handler, query string) *httptest.ResponseRecorder {
	request := httptest.NewRequest("GET", fakeapi.UsersPath+"?"+query, nil)
	request.Header.Set("Authorization", "Bearer "+key)
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, request)
	return answer
}

func decode(t testing.TB, answer *httptest.ResponseRecorder) page {
	t.Helper()
	if answer.Code != http.StatusOK {
		t.Fatalf("status %d: %s", answer.Code, answer.Body)
	}
	var p page
	if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func idsOf(pages ...page) []string {
	var ids []string
	for _, p := range pages {
		for _, u := range p.Users {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

func memberIDs(members []fakeapi.Member) []string {
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestMain(m *testing.M) { harness.Main(m) }
