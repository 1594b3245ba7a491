package factoryapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestListUsersReturnsEveryMemberInOrder(t *testing.T) {
	for _, pageSize := range []int{1, 7, 100} {
		for _, size := range []int{0, 1, 99, 100, 101, 1234} {
			t.Run(fmt.Sprintf("%d members by %d", size, pageSize), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					members := fakeapi.Generate(size, 1, time.Now())
					api := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
					requests := record(api)
					network := serve(t, requests)
					client := newClient(t, network, factoryapi.Config{PageSize: pageSize})

					users, err := collect(client.ListUsers(t.Context()))
					if err != nil {
						t.Fatal(err)
					}
					checkUsers(t, users, members)
					if got, want := requests.count(), max(1, (size+pageSize-1)/pageSize); got != want {
						t.Errorf("%d requests, want %d", got, want)
					}
					for _, r := range requests.all() {
						if got := r.URL.Query()["limit"]; !slices.Equal(got, []string{strconv.Itoa(pageSize)}) {
							t.Fatalf("limit %q in %s", got, r.URL)
						}
					}
					if got := api.Stats().MaxConcurrent; got != 1 {
						t.Errorf("%d requests at once", got)
					}
					if got := network.Dials(); got != 1 {
						t.Errorf("%d connections", got)
					}
				})
			})
		}
	}
}

func TestAnEmptyOrganizationIsOneEmptyPage(t *testing.T) {
	client := newClient(t, serve(t, fakeapi.NewServer(fakeapi.NewOrganization(), key)), factoryapi.Config{})
	pages := 0
	for page, err := range client.Pages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if len(page.Users) != 0 || page.HasMore || page.NextCursor != "" {
			t.Errorf("page %+v", page)
		}
	}
	if pages != 1 {
		t.Errorf("%d pages", pages)
	}
}

func TestPagesAreThoseOfTheAPI(t *testing.T) {
	client := newClient(t, serve(t, organizationOf(5)), factoryapi.Config{PageSize: 2})
	var sizes []int
	var more []bool
	for page, err := range client.Pages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Users))
		more = append(more, page.HasMore)
		if page.HasMore != (page.NextCursor != "") {
			t.Errorf("hasMore %t with the cursor %q", page.HasMore, page.NextCursor)
		}
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) || !slices.Equal(more, []bool{true, true, false}) {
		t.Errorf("pages of %v users, more follow: %v", sizes, more)
	}
}

func TestRequestsGoToTheEndpointBelowTheBaseURL(t *testing.T) {
	for base, want := range map[string]string{
		"http://localhost":                         "/api/v0/organization/users",
		"http://localhost/":                        "/api/v0/organization/users",
		"http://localhost/factory":                 "/factory/api/v0/organization/users",
		"http://127.0.0.1:8080/proxies/factory/":   "/proxies/factory/api/v0/organization/users",
		"http://[::1]/escaped%2Fslash%20and%20so/": "/escaped%2Fslash%20and%20so/api/v0/organization/users",
	} {
		t.Run(base, func(t *testing.T) {
			api := newScript(pageBefore(`"1"`, ""), lastPage(""))
			client := newClient(t, serve(t, api), factoryapi.Config{URL: base})
			if _, err := collect(client.ListUsers(t.Context())); err != nil {
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

func TestTheAPIMayLieBelowAPath(t *testing.T) {
	for _, base := range []string{"http://localhost/factory", "http://localhost/factory/"} {
		network := serve(t, http.StripPrefix("/factory", organizationOf(5)))
		client := newClient(t, network, factoryapi.Config{URL: base, PageSize: 2})
		if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 5 {
			t.Errorf("%s: %d users, error %v", base, len(users), err)
		}
	}
}

func TestRequestsSayWhoAsksForWhat(t *testing.T) {
	requests := record(organizationOf(3))
	client := newClient(t, serve(t, requests), factoryapi.Config{PageSize: 2, UserAgent: "factory_exporter/1.2.3"})
	if _, err := collect(client.ListUsers(t.Context())); err != nil {
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

func TestCursorsArriveAsTheyWereGiven(t *testing.T) {
	for name, cursor := range map[string]string{
		"query syntax":     `a&limit=1;b=c#d?e/f:g`,
		"plus and space":   `a+b c`,
		"percent":          `100%25%zz`,
		"quotes":           `"'\`,
		"beyond ASCII":     "é日本🙂",
		"line break":       "a\r\nHost: elsewhere\x00",
		"base64":           "eyJpZCI6Inh5eiJ9+/==",
		"as long as a URL": strings.Repeat("x", 4000),
	} {
		t.Run(name, func(t *testing.T) {
			api := newScript(pageBefore(toJSON(t, cursor), ""), lastPage(""))
			client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 50})
			if _, err := collect(client.ListUsers(t.Context())); err != nil {
				t.Fatal(err)
			}
			query, err := url.ParseQuery(api.all()[1].URL.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			if len(query) != 2 || !slices.Equal(query["cursor"], []string{cursor}) || !slices.Equal(query["limit"], []string{"50"}) {
				t.Errorf("query %q", query)
			}
		})
	}
}

func TestAListingNeedsOneConnectionAlsoWhenPagesAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(40)
		api.Inject(
			fakeapi.Fault{Page: 1, Times: 1, Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "1")},
			fakeapi.Fault{Page: 2, Times: 2, Serve: fakeapi.Status(http.StatusInternalServerError)},
			fakeapi.Fault{Page: 3, Times: 1, Serve: fakeapi.Respond(http.StatusBadGateway, "text/html", "<html>"+strings.Repeat("bad gateway ", 1000))},
			fakeapi.Fault{Page: 4, Times: 1, Serve: fakeapi.Respond(http.StatusServiceUnavailable, "text/plain", "")},
		)
		network := serve(t, api)
		client := newClient(t, network, factoryapi.Config{PageSize: 10, MaxRetries: 2})
		users, err := collect(client.ListUsers(t.Context()))
		if err != nil || len(users) != 40 {
			t.Fatalf("%d users, error %v", len(users), err)
		}
		if got := network.Dials(); got != 1 {
			t.Errorf("%d connections", got)
		}
		if got := api.Stats(); got.Spoilt != 5 || got.MaxConcurrent != 1 {
			t.Errorf("stats %+v, want 5 spoilt requests, one at a time", got)
		}
	})
}

func TestTheClientsOwnTransportNeedsOneConnection(t *testing.T) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(organizationOf(30))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client, err := factoryapi.New(factoryapi.Config{URL: server.URL, Credentials: staticKey(t, key), PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 30 {
		t.Fatalf("%d users, error %v", len(users), err)
	}
	if got := opened.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

// A firewall that forgets a connection swallows what is sent, and neither side is told.
func TestADeadConnectionIsReplacedWithinTheListing(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := record(organizationOf(1))
				network := serve(t, requests)
				var first *mutableConn
				transport := factoryapi.NewTransport()
				transport.DialContext = func(ctx context.Context, network_, address string) (net.Conn, error) {
					conn, err := network.DialContext(ctx, network_, address)
					if first == nil && err == nil {
						first = &mutableConn{Conn: conn}
						return first, nil
					}
					return conn, err
				}
				transport.Protocols = new(http.Protocols)
				transport.Protocols.SetHTTP1(version == "HTTP/1.1")
				transport.Protocols.SetUnencryptedHTTP2(version == "HTTP/2.0")
				client := newClient(t, network, factoryapi.Config{Transport: transport, MaxRetries: 1})
				for _, dead := range []bool{false, true, false} {
					if first != nil {
						first.mute.Store(dead)
					}
					users, err := collect(client.ListUsers(t.Context()))
					if err != nil || len(users) != 1 {
						t.Errorf("dead %t: %d users, error %v", dead, len(users), err)
					}
				}
				if got := network.Dials(); got != 2 {
					t.Errorf("%d connections, want 2", got)
				}
				for _, r := range requests.all() {
					if r.Proto != version {
						t.Errorf("%s arrived by %s", r.URL, r.Proto)
					}
				}
			})
		})
	}
}

// mutableConn can be made to swallow what is sent.
type mutableConn struct {
	net.Conn
	mute atomic.Bool
}

func (c *mutableConn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// The test binary calls itself: a process reads its proxy variables once.
func TestHTTPSProxyIsUsed(t *testing.T) {
	const variable, done = "HTTPS_PROXY_TEST", "the request was made"
	if os.Getenv(variable) != "" {
		client, err := factoryapi.New(factoryapi.Config{Credentials: staticKey(t, key)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = firstPage(t.Context(), client)
		fmt.Println(done, err)
		return
	}
	requests := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	proxy := httptest.NewServer(requests)
	defer proxy.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), variable+"=1", "HTTPS_PROXY="+proxy.URL, "https_proxy=", "NO_PROXY=", "no_proxy=")
	output, err := child.CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte(done)) {
		t.Fatalf("%v: %s", err, output)
	}
	if requests.count() != 1 {
		t.Fatalf("%d requests to the proxy: %s", requests.count(), output)
	}
	r := requests.all()[0]
	if r.Method != http.MethodConnect || r.Host != "api.factory.ai:443" {
		t.Errorf("%s %s", r.Method, r.Host)
	}
	if got := fmt.Sprint(r.Header); strings.Contains(got, key) {
		t.Errorf("the proxy saw the key: %s", got)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, location := range map[string]string{
			"another host":       "http://elsewhere.example" + fakeapi.UsersPath,
			"another host's TLS": "https://elsewhere.example/",
			"no scheme":          "//elsewhere.example/",
			"another port":       "http://localhost:8081/",
			"another path":       "/login",
			"no location":        "",
			"no URL":             "http://else where.example/%zz",
		} {
			t.Run(fmt.Sprint(status, " to ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					requests := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						if location != "" {
							w.Header().Set("Location", location)
						}
						w.WriteHeader(status)
					}))
					network := serve(t, requests)
					var dialled []string
					transport := &http.Transport{DialContext: func(ctx context.Context, network_, address string) (net.Conn, error) {
						dialled = append(dialled, address)
						return network.DialContext(ctx, network_, address)
					}}
					client := newClient(t, network, factoryapi.Config{Transport: transport, MaxRetries: 3})

					users, err := collect(client.ListUsers(t.Context()))
					if got := apiError(t, err); got.Reason() != strconv.Itoa(status) || got.StatusCode != status {
						t.Errorf("error %v, want the status %d", err, status)
					}
					if len(users) != 0 {
						t.Errorf("%d users", len(users))
					}
					if got := requests.count(); got != 1 {
						t.Errorf("%d requests", got)
					}
					if !slices.Equal(dialled, []string{"localhost:80"}) {
						t.Errorf("connections to %v", dialled)
					}
				})
			})
		}
	}
}

func TestTheKeyStaysWithTheConfiguredHost(t *testing.T) {
	other := record(organizationOf(1))
	elsewhere := httptest.NewServer(other)
	defer elsewhere.Close()
	api := organizationOf(1)
	api.Inject(fakeapi.Fault{Serve: fakeapi.Redirect(elsewhere.URL + fakeapi.UsersPath)})
	server := httptest.NewServer(api)
	defer server.Close()
	client, err := factoryapi.New(factoryapi.Config{URL: server.URL, Credentials: staticKey(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if _, err := firstPage(t.Context(), client); apiError(t, err).Reason() != "302" {
		t.Errorf("error %v", err)
	}
	if got := other.count(); got != 0 {
		t.Errorf("%d requests reached another server", got)
	}
}

func TestAListEndsWhenThereIsNoMore(t *testing.T) {
	for name, pagination := range map[string]string{
		"null cursor":         `{"hasMore":false,"nextCursor":null}`,
		"empty cursor":        `{"hasMore":false,"nextCursor":""}`,
		"no cursor":           `{"hasMore":false}`,
		"a cursor all right":  `{"hasMore":false,"nextCursor":"more"}`,
		"a cursor of a type":  `{"hasMore":false,"nextCursor":7}`,
		"the other way round": `{"nextCursor":null,"hasMore":false}`,
	} {
		t.Run(name, func(t *testing.T) {
			api := newScript(`{"users":[{"id":"a"}],"pagination":` + pagination + `}`)
			client := newClient(t, serve(t, api), factoryapi.Config{})
			users, err := collect(client.ListUsers(t.Context()))
			if err != nil || len(users) != 1 || api.count() != 1 {
				t.Errorf("%d users after %d requests, error %v", len(users), api.count(), err)
			}
		})
	}
}

func TestAListThatCannotGoOnIsInvalid(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pages    []string
		requests int
	}{
		{"more, but a null cursor", []string{pageBefore(`null`, "")}, 1},
		{"more, but an empty cursor", []string{pageBefore(`""`, "")}, 1},
		{"more, but a cursor of another type", []string{pageBefore(`7`, "")}, 1},
		{"more, but no cursor", []string{`{"users":[],"pagination":{"hasMore":true}}`}, 1},
		{"no cursor later on", []string{pageBefore(`"a"`, ""), pageBefore(`null`, "")}, 2},
		{"the cursor that was just used", []string{pageBefore(`"a"`, "")}, 2},
		{"a cursor from before", []string{pageBefore(`"a"`, ""), pageBefore(`"b"`, ""), pageBefore(`"c"`, ""), pageBefore(`"a"`, "")}, 4},
		{"the first cursor in another spelling", []string{pageBefore(`"a"`, ""), pageBefore(`"b"`, ""), pageBefore(`"\u0061"`, "")}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := newScript(tt.pages...)
			client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 3})
			_, err := collect(client.ListUsers(t.Context()))
			if got := apiError(t, err).Reason(); got != "invalid_response" {
				t.Errorf("error %v", err)
			}
			if got := api.count(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
		})
	}
}

func TestACursorIsUsedOnceAListingOnly(t *testing.T) {
	client := newClient(t, serve(t, organizationOf(3)), factoryapi.Config{PageSize: 1})
	for range 2 {
		if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 3 {
			t.Errorf("%d users, error %v", len(users), err)
		}
	}
}

func TestEmptyPagesOnTheWayAreFine(t *testing.T) {
	api := newScript(pageBefore(`"1"`, ""), pageBefore(`"2"`, `{"id":"a"}`), pageBefore(`"3"`, ""), lastPage(`{"id":"b"}`))
	client := newClient(t, serve(t, api), factoryapi.Config{})
	users, err := collect(client.ListUsers(t.Context()))
	if err != nil || !slices.Equal(ids(users), []string{"a", "b"}) {
		t.Errorf("users %v, error %v", ids(users), err)
	}
}

func TestAFailureIsYieldedOnceAndEndsTheListing(t *testing.T) {
	api := organizationOf(50)
	api.Inject(fakeapi.Fault{Page: 3, Serve: fakeapi.Status(http.StatusForbidden)})
	client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 10})

	t.Run("users", func(t *testing.T) {
		users, failures := 0, 0
		for user, err := range client.ListUsers(t.Context()) {
			switch {
			case failures > 0:
				t.Errorf("user %q, error %v after the failure", user.ID, err)
			case err == nil:
				users++
			default:
				failures++
				if user != (factoryapi.User{}) || apiError(t, err).Reason() != "403" {
					t.Errorf("user %+v with error %v", user, err)
				}
			}
		}
		if users != 20 || failures != 1 {
			t.Errorf("%d users and %d failures, want 20 and 1", users, failures)
		}
	})
	t.Run("pages", func(t *testing.T) {
		var results []string
		for page, err := range client.Pages(t.Context()) {
			results = append(results, fmt.Sprint(len(page.Users), " ", err != nil))
		}
		if want := []string{"10 false", "10 false", "0 true"}; !slices.Equal(results, want) {
			t.Errorf("pages %q, want %q", results, want)
		}
	})
}

// Whatever was left behind would keep the bubble from ending.
func TestLeavingAListingEarlyLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(50)
		network := serve(t, api)
		client := newClient(t, network, factoryapi.Config{PageSize: 10})
		seen := 0
		for range client.ListUsers(t.Context()) {
			if seen++; seen == 11 {
				break
			}
		}
		for range client.Pages(t.Context()) {
			break
		}
		synctest.Wait()
		if got := api.Stats(); got.Requests != 3 || got.InFlight != 0 {
			t.Errorf("stats %+v, want 3 requests, none under way", got)
		}
		if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 50 {
			t.Errorf("afterwards: %d users, error %v", len(users), err)
		}
		if got := network.Dials(); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

func TestNothingIsSentBeforeTheListingIsRead(t *testing.T) {
	api := organizationOf(1)
	client := newClient(t, serve(t, api), factoryapi.Config{})
	_, _ = client.ListUsers(t.Context()), client.Pages(t.Context())
	if got := api.Stats().Requests; got != 0 {
		t.Errorf("%d requests", got)
	}
}

func TestACanceledListing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  fakeapi.Behavior // for the second page
		cancel time.Duration    // after the first page
	}{
		{"between two pages", fakeapi.Replace("", ""), 0},
		{"before the header", fakeapi.Hang(), time.Second},
		{"within the body", fakeapi.HangInBody(), time.Second},
		{"within the body of an error", hangInError(http.StatusForbidden), time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(20)
				api.Inject(fakeapi.Fault{Page: 2, Serve: tt.serve})
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
				if got := seen.failures(); len(got) != 0 {
					t.Errorf("observed failures %q", got)
				}
			})
		})
	}
}

func TestACanceledContextSendsNothing(t *testing.T) {
	api := organizationOf(1)
	client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 3})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect(client.ListUsers(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := api.Stats().Requests; got != 0 {
		t.Errorf("%d requests", got)
	}
}

func TestRequestsAreObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(30)
		api.Inject(
			fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.Status(http.StatusInternalServerError)},
			fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.Hang()},
			fakeapi.Fault{Page: 2, Times: 1, Serve: fakeapi.CutTransfer()},
			fakeapi.Fault{Page: 3, Times: 1, Serve: fakeapi.CutJSON()},
		)
		var seen observer
		client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 10, MaxRetries: 3, Observe: seen.observe})
		users, err := collect(client.ListUsers(t.Context()))
		if len(users) != 20 || apiError(t, err).Reason() != "invalid_response" {
			t.Errorf("%d users, error %v", len(users), err)
		}
		want := []string{"ok", "500", "timeout", "connection", "ok", "invalid_response"}
		if got := seen.results(); !slices.Equal(got, want) {
			t.Errorf("observed %q, want %q", got, want)
		}
		if seen.mostOpen != 1 || seen.open != 0 {
			t.Errorf("%d requests at once, %d not ended", seen.mostOpen, seen.open)
		}
		if got, want := api.Stats().Requests, len(want); got != want {
			t.Errorf("%d requests, %d observed", got, want)
		}
	})
}

func TestARequestThatTakesTooLongIsATimeout(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve fakeapi.Behavior
	}{
		{"no header", fakeapi.Hang()},
		{"hangs within the body", fakeapi.HangInBody()},
		{"a byte a second", fakeapi.Trickle(time.Second)},
	} {
		for _, timeout := range []time.Duration{0, 5 * time.Second} {
			t.Run(fmt.Sprint(tt.name, " ", timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := organizationOf(3)
					api.Inject(fakeapi.Fault{Serve: tt.serve})
					client := newClient(t, serve(t, api), factoryapi.Config{RequestTimeout: timeout})
					start := time.Now()
					users, err := collect(client.ListUsers(t.Context()))
					if got := apiError(t, err); got.Reason() != "timeout" || len(users) != 0 {
						t.Errorf("%d users, error %v", len(users), err)
					}
					if timeout == 0 {
						timeout = 30 * time.Second
					}
					if got := time.Since(start); got != timeout {
						t.Errorf("given up after %s, want %s", got, timeout)
					}
					synctest.Wait()
					if got := api.Stats().InFlight; got != 0 {
						t.Errorf("%d requests still under way", got)
					}
				})
			})
		}
	}
}

func TestNoServerToConnectToIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody := fakeapi.NewPipe() // nobody accepts
		defer nobody.Close()
		client := newClient(t, nobody, factoryapi.Config{RequestTimeout: time.Second})
		if _, err := firstPage(t.Context(), client); apiError(t, err).Reason() != "timeout" {
			t.Errorf("error %v", err)
		}
	})
}

func TestATimeoutOfTheTransportIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(1)
		api.Inject(fakeapi.Fault{Serve: fakeapi.Hang()})
		network := serve(t, api)
		transport := &http.Transport{DialContext: network.DialContext, ResponseHeaderTimeout: time.Second}
		client := newClient(t, network, factoryapi.Config{Transport: transport})
		if _, err := firstPage(t.Context(), client); apiError(t, err).Reason() != "timeout" {
			t.Errorf("error %v", err)
		}
	})
}

func TestASlowAnswerWithinTheTimeoutIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(3)
		api.SetLatency(4 * time.Second)
		client := newClient(t, serve(t, api), factoryapi.Config{RequestTimeout: 5 * time.Second, PageSize: 1})
		if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 3 {
			t.Errorf("%d users, error %v", len(users), err)
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
		users, err := collect(client.ListUsers(ctx))
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
				api := organizationOf(1)
				api.Inject(fakeapi.Fault{Serve: hangInError(http.StatusForbidden)})
				var seen observer
				client := newClient(t, serve(t, api), factoryapi.Config{Observe: seen.observe})
				ctx, cancel := context.WithTimeout(t.Context(), listingTimeout)
				defer cancel()
				_, err := firstPage(ctx, client)
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

func TestAClientServesSeveralAtOnce(t *testing.T) {
	client := newClient(t, serve(t, organizationOf(30)), factoryapi.Config{PageSize: 7})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if users, err := collect(client.ListUsers(t.Context())); err != nil || len(users) != 30 {
				t.Errorf("%d users, error %v", len(users), err)
			}
		})
	}
	group.Wait()
}

func TestCloseIdleConnectionsEndsThem(t *testing.T) {
	network := serve(t, organizationOf(1))
	client := newClient(t, network, factoryapi.Config{})
	for want := range 2 {
		if _, err := firstPage(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if got := network.Dials(); got != want+1 {
			t.Errorf("%d connections, want %d", got, want+1)
		}
		client.CloseIdleConnections()
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	credentials := staticKey(t, key)
	for _, tt := range []struct {
		name string
		cfg  factoryapi.Config
		want string // part of the error
	}{
		{"no credentials", factoryapi.Config{}, "no credentials"},
		{"page size below the least", factoryapi.Config{Credentials: credentials, PageSize: -1}, "page size -1 is not between 1 and 100"},
		{"page size above the most", factoryapi.Config{Credentials: credentials, PageSize: 101}, "page size 101 is not between 1 and 100"},
		{"negative request timeout", factoryapi.Config{Credentials: credentials, RequestTimeout: -time.Second}, "request timeout -1s is negative"},
		{"negative retries", factoryapi.Config{Credentials: credentials, MaxRetries: -1}, "max retries -1 is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := factoryapi.New(tt.cfg)
			if client != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("client %v, error %v, want %q", client, err, tt.want)
			}
		})
	}
}

func TestNewRefusesURLs(t *testing.T) {
	const unencrypted, shape, extra, user = "would send the API key unencrypted", "not a URL like https://api.factory.ai", "query or a fragment", "user or password"
	for address, want := range map[string]string{
		"http://api.factory.ai":                                   unencrypted,
		"http://localhost.example":                                unencrypted,
		"http://127.0.0.1.example":                                unencrypted,
		"http://10.0.0.1":                                         unencrypted,
		"http://0.0.0.0":                                          unencrypted,
		"http://[fe80::1]":                                        unencrypted,
		"api.factory.ai":                                          shape,
		"//api.factory.ai":                                        shape,
		"/factory":                                                shape,
		"ftp://api.factory.ai":                                    shape,
		"https:api.factory.ai":                                    shape,
		"https://":                                                shape,
		"https://:443":                                            shape,
		"https:///factory":                                        shape,
		"https://api.factory.ai?a=hunter2":                        extra,
		"https://api.factory.ai?":                                 extra,
		"https://api.factory.ai/#top":                             extra,
		"https://api.factory.ai/#hunter2%2F":                      extra,
		"http://api.factory.ai?hunter2":                           extra,
		"/factory?hunter2#hunter2":                                shape,
		"somebody:hunter2@api.factory.ai":                         shape,
		"https:somebody:hunter2@api.factory.ai":                   shape,
		"https:///somebody:hunter2@api.factory.ai":                shape,
		"https://somebody@api.factory.ai":                         user,
		"https://api.factory.ai/api/v0/organization/users":        "more than the base URL",
		"https://api.factory.ai/below/api/v0/organization/users/": "more than the base URL",
		"https://somebody:hunter2@api.factory.ai":                 user,
		"http://localhost:hunter2":                                "not a URL",
		"https://somebody:hunter2@bad host":                       "not a URL",
		"https://api.factory.ai/%zz":                              "not a URL",
		" https://api.factory.ai":                                 "not a URL",
	} {
		t.Run(address, func(t *testing.T) {
			_, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: staticKey(t, key)})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error quotes what may be a password: %v", err)
			}
		})
	}
}

func TestNewAcceptsURLs(t *testing.T) {
	for _, address := range []string{
		"",
		"https://api.factory.ai",
		"https://api.eu.factory.ai/",
		"https://10.0.0.1:8443/factory",
		"HTTPS://API.FACTORY.AI",
		"http://localhost",
		"http://LocalHost:8080/",
		"http://127.0.0.1:8080",
		"http://127.1.2.3",
		"http://[::1]:8080/factory",
	} {
		t.Run(address, func(t *testing.T) {
			if _, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: staticKey(t, key)}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	requests := make(chan *http.Request, 1)
	client, err := factoryapi.New(factoryapi.Config{
		Credentials: staticKey(t, key),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			requests <- r
			return answer{status: http.StatusOK, body: lastPage("")}.RoundTrip(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := firstPage(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if got, want := (<-requests).URL.String(), "https://api.factory.ai/api/v0/organization/users?limit=100"; got != want {
		t.Errorf("URL %s, want %s", got, want)
	}
}

// organizationOf is the API of an organization with this many members.
func organizationOf(size int) *fakeapi.Server {
	return fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(size, 1, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))...), key)
}

// hangInError sends a status and the beginning of a body, and then nothing more.
func hangInError(status int) fakeapi.Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"detail":"`))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// checkUsers compares users with the members that the API listed.
func checkUsers(t *testing.T, users []factoryapi.User, members []fakeapi.Member) {
	t.Helper()
	if len(users) != len(members) {
		t.Fatalf("%d users, want %d", len(users), len(members))
	}
	for i, m := range members {
		u := users[i]
		if u.ID != m.ID || u.Email != m.Email || u.CreatedAt != timestampOf(t, m.CreatedAt) || u.LastSignInAt != timestampOf(t, m.LastSignInAt) {
			t.Fatalf("user %d is %+v, want %+v", i, u, m)
		}
		for _, name := range []string{"team", "cost_center", "location"} {
			want, wantOK := m.Metadata[name]
			if got, ok := u.Metadata.Get(name); got != want || ok != wantOK {
				t.Fatalf("user %d has %s %q, %t, want %q, %t", i, name, got, ok, want, wantOK)
			}
		}
	}
}

// timestampOf is what becomes of a field that the fake API sends, or leaves out if it is empty.
func timestampOf(t *testing.T, text string) factoryapi.Timestamp {
	t.Helper()
	if text == "" {
		return factoryapi.Timestamp{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return factoryapi.Timestamp{Time: at.UTC(), State: factoryapi.Valid}
}

// observer keeps what a client tells its Observe.
type observer struct {
	mu             sync.Mutex
	ended          []error
	open, mostOpen int
}

func (o *observer) observe() func(error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
	o.mostOpen = max(o.mostOpen, o.open)
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.open--
		o.ended = append(o.ended, err)
	}
}

// results returns a word for each request that ended: the failure's reason, ok or canceled.
func (o *observer) results() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var words []string
	for _, err := range o.ended {
		if err == nil {
			words = append(words, "ok")
		} else if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
			words = append(words, failure.Reason())
		} else if err == context.Canceled {
			words = append(words, "canceled")
		} else {
			words = append(words, err.Error())
		}
	}
	return words
}

// failures are the results of requests that count as failed.
func (o *observer) failures() []string {
	return slices.DeleteFunc(o.results(), func(word string) bool { return word == "ok" || word == "canceled" })
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// toJSON returns a string's text in JSON.
func toJSON(t *testing.T, text string) string {
	t.Helper()
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
