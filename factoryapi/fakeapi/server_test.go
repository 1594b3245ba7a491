package fakeapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

const key = harness.Key

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
				if rest := org.Users(); len(rest) > limit {
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
			for _, m := range org.Users() {
				if times[m.ID] != 1 {
					t.Errorf("%s stayed and was listed %d times", m.ID, times[m.ID])
				}
			}
		})
	}
}

func TestServerEndsAListingWhenTheRestHasLeft(t *testing.T) {
	org := fakeapi.NewOrganization(fakeapi.Generate(40, 1, noon())...)
	pages := list(t, fakeapi.NewServer(org, key), 20, func(page) {
		for _, m := range org.Users() {
			org.Remove(m.ID)
		}
	})
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
		})
	}
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
			org.Update(m.ID, func(m *fakeapi.User) { m.Metadata["seen"] = "yes" })
		}
	})
	changes.Go(func() {
		for _, m := range org.Users() {
			_ = len(m.Metadata["team"])
		}
	})
	changes.Go(func() { list(t, server, 10, nil) })
	changes.Wait()
	if got := len(idsOf(list(t, server, 100, nil)...)); got != 250 {
		t.Errorf("%d members, want 250", got)
	}
}

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
// the last.
func list(t testing.TB, server http.Handler, limit int, after func(page)) []page {
	t.Helper()
	query := url.Values{"limit": {strconv.Itoa(limit)}}
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

// get asks for one page of users.
func get(server http.Handler, query string) *httptest.ResponseRecorder {
	return ask(server, fakeapi.UsersPath, query)
}

// ask sends a request without a network.
func ask(server http.Handler, path, query string) *httptest.ResponseRecorder {
	request := httptest.NewRequest("GET", path+"?"+query, nil)
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

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func TestMain(m *testing.M) { harness.Main(m) }
