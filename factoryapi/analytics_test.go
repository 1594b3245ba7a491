package factoryapi_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// week is the range of days that these tests ask for.
var week = factoryapi.Days{First: factoryapi.ParseDay("2026-02-22"), Last: factoryapi.ParseDay("2026-02-28")}

func number(value float64) factoryapi.Number { return factoryapi.Number{Value: value, Valid: true} }

func TestActivity(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
		want []factoryapi.Activity
	}{
		{"no day", rows(""), nil},
		{
			"a day",
			rows(`{"date":"2026-02-28","daily_active_users":128,"weekly_active_users":312,"monthly_active_users":485,
				"daily_active_users_by_client":{"terminal-ui":95,"web":42},"sessions":890,"messages":12500,"user_messages":4200}`),
			[]factoryapi.Activity{{
				Day: week.Last, Daily: number(128), Weekly: number(312), Monthly: number(485),
				ByClient: map[string]float64{"terminal-ui": 95, "web": 42},
				Sessions: number(890), Messages: number(12500), UserMessages: number(4200),
			}},
		},
		{
			"fields that are null, absent or unknown",
			rows(`{"date":"2026-02-27","daily_active_users":null,"weekly_active_users":0,"daily_active_users_by_client":{"web":null},"seats":{"date":"2026-01-01"},"sessions":1.5e3}`),
			[]factoryapi.Activity{{Day: week.Last - 1, Weekly: number(0), ByClient: map[string]float64{}, Sessions: number(1500)}},
		},
		{
			"clients that are null",
			rows(`{"date":"2026-02-28","daily_active_users_by_client":null}`),
			[]factoryapi.Activity{{Day: week.Last, ByClient: map[string]float64{}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := analyticsOf(t, tt.body).Activity(t.Context(), week)
			if err != nil || len(got) != len(tt.want) || len(got) > 0 && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, error %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	got, err := analyticsOf(t, rows(`{"date":"2026-02-28","billable_tokens":7.5,"input_tokens":1,"output_tokens":2,"cache_read_tokens":3,"by_model":[{"date":1}],"by_user":null}`)).Tokens(t.Context(), week)
	want := []factoryapi.Tokens{{Day: week.Last, Billable: number(7.5), Input: number(1), Output: number(2), CacheRead: number(3)}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
}

// In every form that the reference leaves open, the same users have used the product.
func TestUsageInEveryForm(t *testing.T) {
	want := map[string]string{"user_a": "2026-02-28", "user_b": "2026-02-27", "user_left": "2026-02-28", "user_zero": ""}
	for form := fakeapi.RowPerUser; form <= fakeapi.UserWithRowPerDay; form++ {
		for _, lastCursor := range []string{"", "null", `""`} {
			for _, pageSize := range []int{1, 2, 100} {
				t.Run(fmt.Sprintf("form %d, cursor %q, page size %d", form, lastCursor, pageSize), func(t *testing.T) {
					client := newClient(t, serve(t, analytics(fakeapi.Unknowns{Rows: form, LastCursor: lastCursor})), factoryapi.Config{PageSize: pageSize})
					got := map[string]string{}
					for page, err := range client.Usage(t.Context(), week) {
						if err != nil {
							t.Fatal(err)
						}
						for _, row := range page {
							day := got[row.UserID]
							if row.Sessions.Value+row.Messages.Value+row.ToolCalls.Value > 0 {
								day = max(day, row.Day.String())
							}
							got[row.UserID] = day
						}
					}
					if !maps.Equal(got, want) {
						t.Errorf("last used %v, want %v", got, want)
					}
				})
			}
		}
	}
}

func TestUsageOfOneRow(t *testing.T) {
	for _, tt := range []struct {
		name, row string
		want      factoryapi.Usage
	}{
		{"plain", `{"user_id":"u","date":"2026-02-28","sessions":1,"messages":2,"tool_calls":3}`,
			factoryapi.Usage{UserID: "u", Day: week.Last, Sessions: number(1), Messages: number(2), ToolCalls: number(3)}},
		{"nulls", `{"user_id":"u","date":null,"sessions":null,"messages":null,"tool_calls":0}`,
			factoryapi.Usage{UserID: "u", ToolCalls: number(0)}},
		{"one number", `{"user_id":"u","sessions":1}`, factoryapi.Usage{UserID: "u", Sessions: number(1)}},
		{"nothing but a null", `{"user_id":"u","sessions":null}`, factoryapi.Usage{UserID: "u"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for page, err := range analyticsOf(t, lastRows(tt.row)).Usage(t.Context(), week) {
				if err != nil || len(page) != 1 || page[0] != tt.want {
					t.Errorf("%+v, error %v, want %+v", page, err, tt.want)
				}
			}
		})
	}
}

func TestAnalyticsThatAreNotUnderstood(t *testing.T) {
	const user = `"user_id":"u","date":"2026-02-28"`
	for _, tt := range []struct{ name, endpoint, body, message string }{
		{"not JSON", "activity", `<html>`, "not JSON"},
		{"an array", "activity", `[]`, "not an object"},
		{"no data", "activity", `{"meta":{}}`, `array "data"`},
		{"data is null", "tokens", `{"data":null,"meta":{}}`, `array "data"`},
		{"data is an object", "users", `{"data":{},"meta":{"has_more":false}}`, `array "data"`},
		{"a row that is text", "activity", rows(`"row"`), "row 1 of the page is not an object"},
		{"a row without a date", "activity", rows(`{"date":"2026-02-28"},{"sessions":1}`), `row 2 of the page has no "date"`},
		{"a date of another form", "tokens", rows(`{"date":"28.2.2026"}`), `"date"`},
		{"a number that is text", "activity", rows(`{"date":"2026-02-28","sessions":"12"}`), `"sessions" that is not a number`},
		{"a number that is an object", "tokens", rows(`{"date":"2026-02-28","billable_tokens":{}}`), `"billable_tokens" that is not a number`},
		{"a number past all bounds", "tokens", rows(`{"date":"2026-02-28","input_tokens":1e999}`), `"input_tokens" that is not a number`},
		{"a client that is text", "activity", rows(`{"date":"2026-02-28","daily_active_users_by_client":{"web":"1"}}`), "not a number"},
		{"clients without end", "activity", rows(`{"date":"2026-02-28","daily_active_users_by_client":{` + manyClients(101) + `}}`), "more than 100 clients"},
		{"a user without an id", "users", lastRows(`{"user":"u","sessions":1}`), `"user_id"`},
		{"a user whose id is null", "users", lastRows(`{"user_id":null,"sessions":1}`), `"user_id"`},
		{"renamed numbers", "users", lastRows(`{` + user + `,"session_count":1}`), "none of"},
		{"a boolean for a number", "users", lastRows(`{` + user + `,"sessions":true}`), `"sessions" that is not a number`},
		{"no has_more", "users", rows(`{` + user + `,"sessions":1}`), `"has_more"`},
		{"has_more is text", "users", `{"data":[],"meta":{"has_more":"false"}}`, `"has_more"`},
		{"more without a cursor", "users", `{"data":[],"meta":{"has_more":true,"next_cursor":null}}`, `"next_cursor"`},
		{"a cursor that was used", "users", `{"data":[],"meta":{"has_more":true,"next_cursor":"u"}}`, "used before"},
		{"fewer days than were asked for", "users", `{"data":[],"meta":{"has_more":false,"start_date":"2026-02-23","end_date":"2026-02-28"}}`, "answer is for 2026-02-23 to 2026-02-28"},
		{"other days than were asked for", "activity", `{"data":[],"meta":{"start_date":"2026-02-22","end_date":"2026-02-27"}}`, "but 2026-02-22 to 2026-02-28 was asked for"},
		{"rows without end", "tokens", rows(strings.Repeat(`{"date":"2026-02-28"},`, 1<<16) + `{}`), "more than 32768 elements"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := analyticsOf(t, tt.body)
			err := askFor(t.Context(), client, tt.endpoint)
			if failure := apiError(t, err); failure.Kind != factoryapi.KindInvalidResponse || !strings.Contains(failure.Message, tt.message) {
				t.Errorf("error %q, want invalid_response about %q", err, tt.message)
			}
		})
	}
}

// A description of the range that is written in another way says nothing of the range.
func TestAnalyticsWhoseMetaIsWrittenDifferently(t *testing.T) {
	for _, meta := range []string{`{}`, `null`, `{"start_date":null,"end_date":1}`, `{"start_date":"2026-02-22T00:00:00Z","end_date":"2026-02-28"}`} {
		if _, err := analyticsOf(t, `{"data":[],"meta":`+meta+`}`).Activity(t.Context(), week); err != nil {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

func TestAnalyticsRequests(t *testing.T) {
	rec := record(analytics(fakeapi.Unknowns{}))
	client := newClient(t, serve(t, rec), factoryapi.Config{URL: "http://localhost/base/", PageSize: 1, UserAgent: "test/1"})
	for _, endpoint := range []string{"activity", "tokens", "users"} {
		_ = askFor(t.Context(), client, endpoint) // the base is not the fake's: a 404
	}
	for i, want := range []string{
		"/base/api/v1/analytics/activity?endDate=2026-02-28&startDate=2026-02-22",
		"/base/api/v1/analytics/tokens?endDate=2026-02-28&startDate=2026-02-22",
		"/base/api/v1/analytics/users?endDate=2026-02-28&limit=1&startDate=2026-02-22",
	} {
		request := rec.all()[i]
		if got := request.URL.String(); got != want || request.Header.Get("Authorization") != "Bearer "+key || request.UserAgent() != "test/1" {
			t.Errorf("request %d: %s with %v, want %s", i, got, request.Header, want)
		}
	}
}

func TestAnalyticsAreRetriedLikeUsers(t *testing.T) {
	server := analytics(fakeapi.Unknowns{})
	server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Times: 1, Serve: fakeapi.Status(http.StatusServiceUnavailable)})
	client := newClient(t, serve(t, server), factoryapi.Config{MaxRetries: 1})
	if err := askFor(t.Context(), client, "users"); err != nil {
		t.Error(err)
	}
	server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Refuse(http.StatusForbidden, "insufficient_role")})
	err := askFor(t.Context(), client, "users")
	if failure := apiError(t, err); failure.StatusCode != http.StatusForbidden || failure.Message != "insufficient_role" {
		t.Errorf("error %v", err)
	}
}

func FuzzAnalytics(f *testing.F) {
	f.Add(lastRows(`{"user_id":"u","date":"2026-02-28","sessions":1,"messages":2,"tool_calls":3}`))
	f.Add(`{"data":[{"user_id":"u\u0000","sessions":null}],"meta":{"has_more":true,"next_cursor":"x","start_date":"2026-02-22"}}`)
	f.Add(`{"data":[[]],"data":[],"meta":{"has_more":false}}`)
	f.Add(rows(`{"date":"2026-02-28","daily_active_users":1,"daily_active_users_by_client":{"web":"1","cli":{}},"sessions":[1]}`))
	f.Fuzz(func(t *testing.T, body string) {
		client := analyticsOf(t, body)
		for _, endpoint := range []string{"activity", "tokens"} {
			if err := askFor(t.Context(), client, endpoint); err != nil {
				_ = apiError(t, err)
			}
		}
		for page, err := range client.Usage(t.Context(), week) {
			if err != nil {
				_ = apiError(t, err)
			}
			for _, row := range page {
				if row.UserID == "" {
					t.Errorf("row without an id: %+v", row)
				}
			}
		}
	})
}

// analytics are those of an organization of four, one of whom did nothing, on 2026-03-01.
func analytics(u fakeapi.Unknowns) *fakeapi.Server {
	work := fakeapi.Work{Clients: []string{"web"}, Sessions: 2, UserMessages: 3, AssistantMessages: 6, ToolCalls: 40}
	a := fakeapi.NewAnalytics(
		fakeapi.Worker{ID: "user_a", On: fakeapi.OnDays(work, "2026-02-20", "2026-02-28")},
		fakeapi.Worker{ID: "user_b", On: fakeapi.OnDays(work, "2026-02-27")},
		fakeapi.Worker{ID: "user_left", On: fakeapi.OnDays(work, "2026-02-22", "2026-02-27", "2026-02-28")},
		fakeapi.Worker{ID: "user_zero", On: fakeapi.OnDays(fakeapi.Work{}, "2026-02-22")},
	)
	a.Now = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	a.Choose(u)
	server := fakeapi.NewServer(fakeapi.NewOrganization(), key)
	server.SetAnalytics(a)
	return server
}

// analyticsOf is a client of an API that always answers with this body.
func analyticsOf(t testing.TB, body string) *factoryapi.Client {
	return newClient(t, nil, factoryapi.Config{Transport: answer{status: http.StatusOK, body: body}})
}

// askFor asks an endpoint for a week.
func askFor(ctx context.Context, client *factoryapi.Client, endpoint string) (err error) {
	switch endpoint {
	case "activity":
		_, err = client.Activity(ctx, week)
	case "tokens":
		_, err = client.Tokens(ctx, week)
	default:
		for _, pageErr := range client.Usage(ctx, week) {
			err = pageErr
		}
	}
	return err
}

// rows is the answer with these rows, JSON objects with commas between them.
func rows(rows string) string {
	return `{"data":[` + rows + `],"meta":{"org_id":"org","start_date":"2026-02-22","end_date":"2026-02-28"}}`
}

// lastRows is the last page of these rows of users.
func lastRows(rows string) string { return `{"data":[` + rows + `],"meta":{"has_more":false}}` }

func manyClients(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"client-%d":1`, i)
	}
	return b.String()[1:]
}
