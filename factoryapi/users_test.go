package factoryapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestPagesHaveEveryUserInOrder(t *testing.T) {
	for _, pageSize := range []int{1, 7, 100} {
		for _, size := range []int{0, 1, 99, 100, 101, 1234} {
			t.Run(fmt.Sprintf("%d members by %d", size, pageSize), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					members := fakeapi.Generate(size, 1, time.Now())
					api := fakeapi.NewServer(fakeapi.NewOrganization(members...), key)
					requests := record(api)
					network := serve(t, requests)
					client := newClient(t, network, factoryapi.Config{PageSize: pageSize})

					users, err := list(t.Context(), client)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.EqualFunc(users, members, func(u factoryapi.User, m fakeapi.User) bool { return u.ID == m.ID && u.Email == m.Email }) {
						t.Errorf("users %v", ids(users))
					}
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

func TestCursorsArriveAsTheyWereGiven(t *testing.T) {
	for name, cursor := range map[string]string{
		"query syntax":      `a&limit=1;b=c#d?e/f:g`,
		"plus and space":    `a+b c`,
		"percent":           `100%25%zz`,
		"quotes":            `"'\`,
		"beyond ASCII":      "é日本🙂",
		"line break":        "a\r\nHost: elsewhere\x00",
		"base64":            "eyJpZCI6Inh5eiJ9+/==",
		"as long as may be": strings.Repeat("x", 4<<10),
	} {
		t.Run(name, func(t *testing.T) {
			api := newScript(pageBefore(toJSON(t, cursor), ""), lastPage(""))
			client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 50})
			if _, err := list(t.Context(), client); err != nil {
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
		{"a cursor of more than 4 KiB", []string{pageBefore(`"a"`, ""), pageBefore(`"`+strings.Repeat("c", 4<<10+1)+`"`, "")}, 2},
		{"the first cursor in another spelling", []string{pageBefore(`"a"`, ""), pageBefore(`"b"`, ""), pageBefore(`"\u0061"`, "")}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := newScript(tt.pages...)
			client := newClient(t, serve(t, api), factoryapi.Config{MaxRetries: 3})
			_, err := list(t.Context(), client)
			if got := apiError(t, err).Reason(); got != "invalid_response" {
				t.Errorf("error %v", err)
			}
			if got := api.count(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
		})
	}
}

func TestAListWithoutEndEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		users func(page int) string
		pages int // read without an error
	}{
		{"of empty pages", func(int) string { return "" }, 100},
		{"of empty pages behind a full one", func(page int) string { return strings.Repeat(`{"id":"a"}`, max(0, 2-page)) }, 101},
		{"that has a user now and then", func(page int) string { return strings.Repeat(`{"id":"a"}`, max(0, page%101-99)) }, 100_000 - 1},
		{"of the same users", func(int) string { return `{"id":"a"}` }, 100_000 - 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			client := newClient(t, nil, factoryapi.Config{MaxRetries: 3, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				requests++
				return answer{status: http.StatusOK, body: pageBefore(fmt.Sprintf(`"%d"`, requests), tt.users(requests))}.RoundTrip(r)
			})})
			pages := 0
			for _, err := range client.Pages(t.Context()) {
				if err == nil {
					pages++
				} else if got := apiError(t, err).Reason(); got != "invalid_response" {
					t.Errorf("error %v", err)
				}
			}
			if pages != tt.pages || requests != pages+1 {
				t.Errorf("%d pages by %d requests, want %d pages", pages, requests, tt.pages)
			}
		})
	}
}

func TestAFailureIsYieldedOnceAndEndsTheListing(t *testing.T) {
	api := organizationOf(50, fakeapi.Fault{Page: 3, Serve: fakeapi.Status(http.StatusForbidden)})
	client := newClient(t, serve(t, api), factoryapi.Config{PageSize: 10})

	var results []string
	for page, err := range client.Pages(t.Context()) {
		results = append(results, fmt.Sprint(len(page), " ", err != nil))
	}
	if want := []string{"10 false", "10 false", "0 true"}; !slices.Equal(results, want) {
		t.Errorf("pages %q, want %q", results, want)
	}
}

func TestAPageStaysUntilTheNextOneIsAskedFor(t *testing.T) {
	client := newClient(t, serve(t, organizationOf(5)), factoryapi.Config{PageSize: 3})
	var last []factoryapi.User
	for page, err := range client.Pages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		last = page
	}
	if got := ids(last); len(got) != 2 || slices.Contains(got, "") {
		t.Errorf("the last page has the ids %q", got)
	}
}

// Whatever was left behind would keep the bubble from ending.
func TestLeavingAListingEarlyLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(50)
		network := serve(t, api)
		client := newClient(t, network, factoryapi.Config{PageSize: 10})
		for _, err := range client.Pages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		synctest.Wait()
		if got := api.Stats(); got.Requests != 1 || got.InFlight != 0 {
			t.Errorf("stats %+v, want 1 request, none under way", got)
		}
		if users, err := list(t.Context(), client); err != nil || len(users) != 50 {
			t.Errorf("afterwards: %d users, error %v", len(users), err)
		}
		if got := network.Dials(); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

func TestMetadata(t *testing.T) {
	for _, tt := range []struct {
		name, object, key string
		want              string
		ok                bool
	}{
		{"string", `{"team":"platform"}`, "team", "platform", true},
		{"one of several", `{"a":"1","team":"platform","z":{"team":"no"}}`, "team", "platform", true},
		{"escapes in the value", `{"team":"a\"b\\c\/d\u00e9\n\ud83d\ude42"}`, "team", "a\"b\\c/dé\n🙂", true},
		{"escapes in the name", `{"t\u0065am":"platform"}`, "team", "platform", true},
		{"a backslash at the end", `{"team":"C:\\","z":"\\\""}`, "team", `C:\`, true},
		{"a name with a quote", `{"te\"am":"platform"}`, `te"am`, "platform", true},
		{"an empty name", `{"":"platform"}`, "", "platform", true},
		{"a name with a dot", `{"team.name":"platform"}`, "team.name", "platform", true},
		{"number as it is written", `{"team":-1.50E+002}`, "team", "-1.50E+002", true},
		{"true", `{"team":true}`, "team", "true", true},
		{"null", `{"team":null}`, "team", "", false},
		{"array", `{"team":["platform"]}`, "team", "", false},
		{"object", `{"team":{"team":"platform"}}`, "team", "", false},
		{"not there", `{"team":"platform"}`, "location", "", false},
		{"another case", `{"Team":"platform"}`, "team", "", false},
		{"a value of that text", `{"a":"team","b":"platform"}`, "team", "", false},
		{"within another value", `{"a":{"team":"platform"},"b":["team",{"team":"x"}]}`, "team", "", false},
		{"of a repeated name, the last, if null", `{"team":"a","team":null}`, "team", "", false},
		{"invalid UTF-8", "{\"team\":\"a\xffb\"}", "team", "a\ufffdb", true},
		{"null metadata", `null`, "team", "", false},
		{"metadata of another type", `["team","platform"]`, "team", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := metadata(t, tt.object).Get(tt.key)
			if got != tt.want || ok != tt.ok {
				t.Errorf("%q, %t, want %q, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// metadata is that of a user in a page.
func metadata(t *testing.T, object string) factoryapi.Metadata {
	t.Helper()
	users, _, err := factoryapi.DecodePage([]byte(lastPage(`{"id":"a","metadata":`+object+`}`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return users[0].Metadata
}

// checkMetadata compares a value with what encoding/json makes of it.
func checkMetadata(t *testing.T, m factoryapi.Metadata, fields map[string]json.RawMessage, name string) {
	t.Helper()
	raw, ok := fields[name]
	want := string(raw)
	switch {
	case !ok || raw[0] == '{' || raw[0] == '[' || want == "null":
		want, ok = "", false
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
	}
	if got, gotOK := m.Get(name); got != want || gotOK != ok {
		t.Errorf("%q is %q, %t, want %q, %t", name, got, gotOK, want, ok)
	}
}
