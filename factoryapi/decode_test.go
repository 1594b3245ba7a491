package factoryapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// Whatever is no page is an invalid response: never an empty organization, and nothing to
// ask for again.
func TestWhatIsNoPageIsInvalid(t *testing.T) {
	const pagination = `"pagination":{"hasMore":false,"nextCursor":null}`
	bodies := []string{
		// No JSON, or not all of it.
		``, " \r\n\t", `no healthy upstream`, `<!doctype html><html><body>Sign in</body></html>`, "\ufeff" + lastPage(""), ")]}',\n" + lastPage(""),
		`callback(` + lastPage("") + `)`, `{/**/` + lastPage("")[1:], `{"users":[{"id":"a"},],` + pagination + `}`, `{"users":[] ` + pagination + `}`,
		`{'users':[],` + pagination + `}`, `{users:[],` + pagination + `}`, lastPage("{\"id\":\"a\nb\"}"), lastPage("{\"id\":\"a\x00b\"}"),
		lastPage(`{"id":"\x61"}`), lastPage(`{"id":"\u00"}`), lastPage(`{"id":"a","age":NaN}`), lastPage(`{"id":"a","age":007}`), "\xff\xfe{\x00}\x00",
		strings.Repeat("[", 1<<17), strings.Repeat(`{"users":`, 1<<15), `{"deep":` + strings.Repeat("[", 1<<17) + strings.Repeat("]", 1<<17) + `,` + lastPage("")[1:],
		lastPage("") + lastPage(""), lastPage("") + "\n<!-- cached -->", lastPage("") + "}", lastPage("") + "\x00",
		// Another value.
		`null`, `true`, `0`, `"users"`, `[]`, `[` + lastPage("") + `]`, `{}`, `{"detail":"no","status":500,"title":"Internal Server Error"}`,
		// Users.
		`{` + pagination + `}`, `{"users":null,` + pagination + `}`, `{"users":{},` + pagination + `}`, `{"users":"",` + pagination + `}`, `{"users":0,` + pagination + `}`,
		`{"users":false,` + pagination + `}`, `{"Users":[],` + pagination + `}`, `{"data":{"users":[],` + pagination + `}}`,
		`{"pagination":{"hasMore":false,"nextCursor":null,"users":[]}}`, `{"users":[],` + pagination + `,"users":null}`,
		// Pagination.
		`{"users":[]}`, `{"users":[],"pagination":null}`, `{"users":[],"pagination":{}}`, `{"users":[],"pagination":[{"hasMore":false}]}`, `{"users":[],"pagination":"hasMore"}`,
		`{"users":[],` + pagination + `,"pagination":null}`, `{"users":[],"pagination":{"nextCursor":null}}`, `{"users":[],"pagination":{"hasMore":null,"nextCursor":null}}`,
		`{"users":[],"pagination":{"hasMore":"false","nextCursor":null}}`, `{"users":[],"pagination":{"hasMore":0,"nextCursor":null}}`, `{"users":[],"pagination":{"hasMore":{},"nextCursor":null}}`,
		`{"users":[],"pagination":{"hasmore":false,"nextCursor":null}}`, `{"users":[],"hasMore":false,"pagination":{"nextCursor":null}}`,
		// A user, and its id.
		lastPage(`null`), lastPage(`"a"`), lastPage(`["id","a"]`), lastPage(`7`), lastPage(`{}`), lastPage(`{"email":"a@acme.example"}`), lastPage(`{"id":null}`), lastPage(`{"id":""}`),
		lastPage(`{"id":7}`), lastPage(`{"id":{"id":"a"}}`), lastPage(`{"ID":"a"}`), lastPage(`{"user":{"id":"a"}}`), lastPage(`{"metadata":{"id":"a"}}`), lastPage(`{"id":"a","id":null}`),
		lastPage(`{"id":"a"},{"id":"b"},{"email":"c@acme.example"}`), lastPage(`{"email":"a@acme.example"},{"id":"b"}`), lastPage(strings.Repeat(`{"id":"a"},`, 32768) + `{"id":"a"}`),
		`{` + pagination + `,"users":[` + strings.Repeat(`{"id":"a"},`, 32768) + `0]}`,
	}
	page := lastPage(`{"id":"a","email":"a@acme.example","metadata":{"team":"\u0061"}}`)
	for length := range page {
		bodies = append(bodies, page[:length])
	}
	for _, body := range bodies {
		client := newClient(t, nil, factoryapi.Config{MaxRetries: 3, Transport: answer{status: http.StatusOK, body: body}})
		users, err := list(t.Context(), client)
		if got := apiError(t, err); got.Reason() != "invalid_response" || got.Message == "" || got.Temporary() || len(users) != 0 {
			t.Errorf("%.100q: %d users, error %v", body, len(users), err)
		}
	}
}

func TestAPageThatIsNotJSONIsDescribed(t *testing.T) {
	const address = "ada@acme.example"
	for contentType, body := range map[string]string{
		"text/html":        "<!doctype html>" + address,
		"application/json": lastPage(`{"email":"` + address + `"}`)[:40],
		"":                 address,
	} {
		err := failure(t, key, answer{status: http.StatusOK, header: http.Header{"Content-Type": {contentType}}, body: body})
		for _, want := range []string{"not JSON", fmt.Sprint(len(body), " bytes"), contentType} {
			if !strings.Contains(err.Message, want) {
				t.Errorf("message %q, want %q in it", err.Message, want)
			}
		}
		if strings.Contains(err.Message, address[:5]) {
			t.Errorf("message %q quotes the body", err.Message)
		}
	}
}

func TestFieldsOfAUser(t *testing.T) {
	march := factoryapi.Timestamp{Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), State: factoryapi.Valid}
	april := factoryapi.Timestamp{Time: time.Date(2026, 4, 5, 6, 7, 8, 900_000_000, time.UTC), State: factoryapi.Valid}
	missing, invalid := factoryapi.Timestamp{}, factoryapi.Timestamp{State: factoryapi.Invalid}
	const deep = 5000
	type user struct {
		ID, Email               string
		CreatedAt, LastSignInAt factoryapi.Timestamp
		Team                    string // of the metadata
	}
	for _, tt := range []struct {
		name, json string
		want       user
	}{
		{"all", `{"id":"a","email":"a@acme.example","firstName":"A","lastName":"B","createdAt":"2026-03-04T05:06:07Z","lastSignInAt":"2026-04-05T06:07:08.9Z","metadata":{"team":"platform"}}`,
			user{"a", "a@acme.example", march, april, "platform"}},
		{"the required ones", `{"id":"a","email":"a@acme.example","createdAt":"2026-03-04T05:06:07Z","metadata":{}}`,
			user{"a", "a@acme.example", march, missing, ""}},
		{"an id alone", `{"id":"a"}`, user{ID: "a"}},
		{"another order", `{"metadata":{"team":"platform"},"lastSignInAt":"2026-04-05T06:07:08.9Z","createdAt":"2026-03-04T05:06:07Z","email":"e","id":"a"}`,
			user{"a", "e", march, april, "platform"}},
		{"white space", "\r\n{ \"id\" : \"a\" ,\t\"email\" :\n\"e\" , \"metadata\" : { \"team\" : \"platform\" } } ", user{ID: "a", Email: "e", Team: "platform"}},
		{"null is absent", `{"id":"a","email":null,"firstName":null,"lastName":null,"createdAt":null,"lastSignInAt":null,"metadata":null}`, user{ID: "a"}},
		{"timestamps that are rubbish", `{"id":"a","createdAt":"yesterday","lastSignInAt":"2026-04-31T00:00:00Z"}`, user{ID: "a", CreatedAt: invalid, LastSignInAt: invalid}},
		{"timestamps that are numbers", `{"id":"a","createdAt":1772600767,"lastSignInAt":0}`, user{ID: "a", CreatedAt: invalid, LastSignInAt: invalid}},
		{"timestamps that are objects", `{"id":"a","createdAt":{},"lastSignInAt":{"id":"b"}}`, user{ID: "a", CreatedAt: invalid, LastSignInAt: invalid}},
		{"a timestamp with escapes", `{"id":"a","createdAt":"2026\u002d03-04T05:06:07Z"}`, user{ID: "a", CreatedAt: march}},
		{"a timestamp with invalid UTF-8", "{\"id\":\"a\",\"createdAt\":\"2026-03-04T05:06:07Z\xff\"}", user{ID: "a", CreatedAt: invalid}},
		{"a mail address of another type", `{"id":"a","email":7}`, user{ID: "a"}},
		{"names of another type", `{"id":"a","firstName":{"id":"b"},"lastName":["id"]}`, user{ID: "a"}},
		{"unknown fields", `{"role":"admin","id":"a","roles":[{"id":"b"},["id"]],"profile":{"id":"c","email":"f"},"age":-1.5e3,"x":true,"y":null,"email":"e"}`, user{ID: "a", Email: "e"}},
		{"fields in another case", `{"id":"a","ID":"b","Email":"f","CREATEDAT":"2026-03-04T05:06:07Z"}`, user{ID: "a"}},
		{"field names with escapes", `{"\u0069d":"a","e\u006dail":"e","m\u0065tadata":{"t\u0065am":"platform"}}`, user{ID: "a", Email: "e", Team: "platform"}},
		{"values with escapes", `{"id":"\u0061\"\\\/\n\ud83d\ude42","email":"\u0065"}`, user{ID: "a\"\\/\n🙂", Email: "e"}},
		{"strings that look like JSON", `{"firstName":"\",\"id\":\"b","id":"a","lastName":"},{]\\","email":"e"}`, user{ID: "a", Email: "e"}},
		{"an id beyond ASCII", `{"id":"é日本🙂"}`, user{ID: "é日本🙂"}},
		{"an id with invalid UTF-8", "{\"id\":\"a\xffb\xc3\"}", user{ID: "a\ufffdb\ufffd"}},
		{"an id of invalid UTF-8 alone", "{\"id\":\"\xff\"}", user{ID: "\ufffd"}},
		{"a mail address with invalid UTF-8", "{\"id\":\"a\",\"email\":\"\xffé\xfe\"}", user{ID: "a", Email: "\ufffdé\ufffd"}},
		{"names with invalid UTF-8", "{\"id\":\"a\",\"firstName\":\"\xff\",\"lastName\":\"\xc0\x80\"}", user{ID: "a"}},
		{"half a surrogate pair", `{"id":"a\ud83d","email":"\ude42e"}`, user{ID: "a\ufffd", Email: "\ufffde"}},
		{"of a repeated name, the last", `{"id":"b","id":"a","email":"f","email":"e","createdAt":null,"createdAt":"2026-03-04T05:06:07Z","metadata":{"team":"x"},"metadata":{"team":"platform"}}`,
			user{ID: "a", Email: "e", CreatedAt: march, Team: "platform"}},
		{"of a repeated name, the last, if null", `{"id":"a","email":"e","email":null,"createdAt":"2026-03-04T05:06:07Z","createdAt":null,"metadata":{"team":"platform"},"metadata":null}`, user{ID: "a"}},
		{"deep values", `{"deep":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `,"id":"a","metadata":{"x":` + strings.Repeat(`{"team":`, deep) + `0` + strings.Repeat("}", deep) + `,"team":"platform"}}`,
			user{ID: "a", Team: "platform"}},
		{"a long id", `{"id":"` + strings.Repeat("x", 1<<20) + `"}`, user{ID: strings.Repeat("x", 1<<20)}},
		{"backslashes in a row", `{"firstName":"` + strings.Repeat(`\\`, 1<<16) + `","id":"a","lastName":"` + strings.Repeat(`\"`, 1<<16) + `"}`, user{ID: "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, _, err := factoryapi.DecodePage([]byte(lastPage(tt.json+`,{"id":"next"}`)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(users) != 2 || users[1].ID != "next" {
				t.Fatalf("%d users, the last is %q", len(users), users[len(users)-1].ID)
			}
			u := users[0]
			got := user{ID: u.ID, Email: u.Email, CreatedAt: u.CreatedAt, LastSignInAt: u.LastSignInAt}
			got.Team, _ = u.Metadata.Get("team")
			if got != tt.want {
				t.Errorf("user %.300q, want %.300q", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tt.want))
			}
			if !utf8.ValidString(got.ID + got.Email + got.Team) {
				t.Errorf("user %q is not UTF-8", fmt.Sprint(got))
			}
		})
	}
}

func TestFieldsOfAPage(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		ids        []string
		next       string // empty: the last page
	}{
		{"the last", lastPage(`{"id":"a"},{"id":"b"}`), []string{"a", "b"}, ""},
		{"not the last", pageBefore(`"next"`, `{"id":"a"}`), []string{"a"}, "next"},
		{"empty", lastPage(``), nil, ""},
		{"empty, not the last", pageBefore(`"next"`, ``), nil, "next"},
		{"white space", " \r\n\t{ \"users\" : [ { \"id\" : \"a\" } , { \"id\":\"b\" } ] ,\n \"pagination\" : { \"hasMore\" : true , \"nextCursor\" : \"next\" } } \n", []string{"a", "b"}, "next"},
		{"another order", `{"pagination":{"nextCursor":"next","hasMore":true},"users":[{"id":"a"}]}`, []string{"a"}, "next"},
		{"unknown fields", `{"total":1,"links":{"users":[1],"pagination":null},"users":[{"id":"a"}],"x":[[]],"pagination":{"page":{"hasMore":false},"hasMore":true,"nextCursor":"next","total":9}}`, []string{"a"}, "next"},
		{"names with escapes", `{"\u0075sers":[{"id":"a"}],"p\u0061gination":{"h\u0061sMore":true,"next\u0043ursor":"n\u0065xt"}}`, []string{"a"}, "next"},
		{"a cursor with invalid UTF-8", pageBefore("\"a\xffb\"", ``), nil, "a\ufffdb"},
		{"a cursor on the last page", `{"users":[],"pagination":{"hasMore":false,"nextCursor":"next"}}`, nil, ""},
		{"an empty cursor on the last page", `{"users":[],"pagination":{"hasMore":false,"nextCursor":""}}`, nil, ""},
		{"a cursor of another type on the last page", `{"users":[],"pagination":{"hasMore":false,"nextCursor":7}}`, nil, ""},
		{"no cursor on the last page", `{"users":[],"pagination":{"hasMore":false}}`, nil, ""},
		{"of repeated names, the last", `{"users":[{"id":"x"}],"pagination":{"hasMore":false,"nextCursor":"x"},"users":[{"id":"a"}],"pagination":{"hasMore":false,"hasMore":true,"nextCursor":"x","nextCursor":"next"}}`, []string{"a"}, "next"},
		{"the same user twice", lastPage(`{"id":"a"},{"id":"a"}`), []string{"a", "a"}, ""},
		{"more users than were asked for", lastPage(strings.Repeat(`{"id":"a"},`, 299) + `{"id":"a"}`), slices.Repeat([]string{"a"}, 300), ""},
		{"as many users as there may be", lastPage(strings.Repeat(`{"id":"a"},`, 32767) + `{"id":"a"}`), slices.Repeat([]string{"a"}, 32768), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, next, err := factoryapi.DecodePage([]byte(tt.body), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(users); !slices.Equal(got, tt.ids) {
				t.Errorf("users %q, want %q", got, tt.ids)
			}
			if next != tt.next {
				t.Errorf("next cursor %q, want %q", next, tt.next)
			}
		})
	}
}

// The body's memory is used for the next page.
func TestAPageKeepsNothingOfItsBody(t *testing.T) {
	body := []byte(pageBefore(`"next"`, `{"id":"a","email":"e","metadata":{"team":"platform"}}`))
	users, next, err := factoryapi.DecodePage(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = '!'
	}
	user := users[0]
	if team, _ := user.Metadata.Get("team"); user.ID != "a" || user.Email != "e" || team != "platform" || next != "next" {
		t.Errorf("user %+v, team %q, next cursor %q", user, team, next)
	}
}

func TestAPageMayHaveFourMebibytes(t *testing.T) {
	const begin, end = `{"padding":"`, `","users":[{"id":"a"}],"pagination":{"hasMore":false}}`
	for more := range 2 {
		body := begin + strings.Repeat("x", 4<<20-len(begin)-len(end)+more) + end
		users, err := list(t.Context(), newClient(t, nil, factoryapi.Config{Transport: answer{status: http.StatusOK, body: body}}))
		if more == 0 && (err != nil || len(users) != 1) || more == 1 && !strings.Contains(apiError(t, err).Error(), "invalid_response: body is larger than 4 MiB") {
			t.Errorf("%d bytes more: %d users, error %v", more, len(users), err)
		}
	}
}

// TestLargeBodiesTakeLittleMemory is not parallel: it measures what the whole process
// allocates.
func TestLargeBodiesTakeLittleMemory(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve fakeapi.Behavior
	}{
		{"endless", fakeapi.Endless()},
		{"64 MiB", fakeapi.Large(64 << 20)},
		{"64 MiB, compressed", fakeapi.Compressed(fakeapi.Large(64 << 20))},
		{"endless error", fakeapi.EndlessError(500, key)},
		{"a million users", fakeapi.Respond(200, "application/json", lastPage(strings.Repeat(`{"id":"a"},`, 1<<20)+`{"id":"a"}`))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := organizationOf(2, fakeapi.Fault{Serve: tt.serve})
				client := newClient(t, serve(t, api), factoryapi.Config{})
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				users, err := list(t.Context(), client)
				synctest.Wait()
				runtime.ReadMemStats(&after)
				if err == nil || len(users) != 0 {
					t.Errorf("%d users, error %v", len(users), err)
				}
				if got := api.Stats(); got.Requests != 1 || got.InFlight != 0 {
					t.Errorf("stats %+v, want one request that has ended", got)
				}
				// 4 MiB are read, into a buffer that doubles: 16 MiB in all, and twice that
				// where the race detector keeps the compiler from growing a slice in one step.
				if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 40 {
					t.Errorf("%d MiB were allocated in all, want 40 MiB at most", allocated)
				}
			})
		})
	}
}

func FuzzDecodePage(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"users":[]}`, lastPage(``), pageBefore(`"next"`, ``), pageBefore(`null`, ``),
		lastPage(`{"id":"a","email":"a@acme.example","firstName":"A","lastName":"B","createdAt":"2026-03-04T05:06:07Z","lastSignInAt":"2026-04-05T06:07:08.9Z","metadata":{"team":"platform","n":1}}`),
		lastPage(`{"id":"a"},{"\u0069d":"b\ud83d\"","email":null,"x":[{"id":"c"}]}`),
		lastPage("{\"id\":\"a\xff\",\"metadata\":{\"\xff\":\"\\\\\"}}"),
		lastPage(`{"id":"a","createdAt":7,"lastSignInAt":"","metadata":[]},{}`),
		lastPage(`{"id":"a","metadata":{"a":1.50,"b":true,"c":null,"d":[{"a":1}],"e":{"a":2},"a":"2","\ud83d":"\\"," ":"\""}}`),
		`{"users":[{"id":7}],"users":[{"id":"a","id":"b"}],"pagination":null,"pagination":{"hasMore":true,"hasMore":false}}`,
		" { \"pagination\" : { \"nextCursor\" : \"\\u0061\" , \"hasMore\" : true } , \"users\" : [ { \"id\" : \"a\" } ] } ",
		lastPage(``) + lastPage(``), `<html>`,
	} {
		f.Add([]byte(body))
	}
	for _, page := range generatedPages(f, 7, 3) {
		f.Add(page)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, next, err := factoryapi.DecodePage(body, nil)
		want, wantNext, users, ok := decodeSlowly(body)
		if (err == nil) != ok {
			t.Fatalf("error %v, but encoding/json says that this is a page: %t", err, ok)
		}
		if err != nil {
			return
		}
		if next != wantNext || len(got) != len(want) {
			t.Fatalf("users %+v, next cursor %q; want %+v, %q", got, next, want, wantNext)
		}
		for i, got := range got {
			want := want[i]
			if got.ID != want.ID || got.Email != want.Email || got.CreatedAt != want.CreatedAt || got.LastSignInAt != want.LastSignInAt {
				t.Errorf("user %d is %+v, want %+v", i, got, want)
			}
			var metadata map[string]json.RawMessage
			_ = json.Unmarshal(users[i]["metadata"], &metadata) // of what is no object, there are none
			for name := range metadata {
				checkMetadata(t, got.Metadata, metadata, name)
			}
		}
	})
}

// decodeSlowly is the oracle of FuzzDecodePage: a page by encoding/json, without the
// metadata, which are among the users' fields. Maps rather than structs, since those
// match names in any case.
func decodeSlowly(body []byte) (want []factoryapi.User, next string, users []map[string]json.RawMessage, ok bool) {
	var fields, pagination map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["users"], &users) != nil || json.Unmarshal(fields["pagination"], &pagination) != nil {
		return nil, "", nil, false
	}
	var more *bool
	if users == nil || json.Unmarshal(pagination["hasMore"], &more) != nil || more == nil {
		return nil, "", nil, false
	}
	for _, user := range users {
		id := textOf(user["id"])
		if id == "" {
			return nil, "", nil, false
		}
		want = append(want, factoryapi.User{
			ID:           id,
			Email:        textOf(user["email"]),
			CreatedAt:    parseSlowly(user["createdAt"]),
			LastSignInAt: parseSlowly(user["lastSignInAt"]),
		})
	}
	if *more {
		next = textOf(pagination["nextCursor"])
	}
	return want, next, users, *more == (next != "")
}

// textOf returns a string, and an empty one in place of anything else.
func textOf(value json.RawMessage) (text string) {
	_ = json.Unmarshal(value, &text) // anything else
	return text
}

func parseSlowly(value json.RawMessage) factoryapi.Timestamp {
	switch {
	case len(value) == 0 || string(value) == "null":
		return factoryapi.Timestamp{}
	case value[0] == '"':
		return factoryapi.ParseTimestamp(textOf(value))
	default:
		return factoryapi.Timestamp{State: factoryapi.Invalid}
	}
}

// generatedPages are the pages of a made-up organization as the fake API sends them.
func generatedPages(t testing.TB, size, pageSize int) [][]byte {
	t.Helper()
	var pages [][]byte
	client := newClient(t, serve(t, organizationOf(size)), factoryapi.Config{
		PageSize: pageSize, Body: func(_ string, body []byte) { pages = append(pages, bytes.Clone(body)) },
	})
	if _, err := list(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	return pages
}
