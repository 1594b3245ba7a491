package factoryapi_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// week is the range of days that these tests ask for, or its last day where an endpoint
// takes one.
var week = factoryapi.Days{First: factoryapi.ParseDay("2026-02-22"), Last: factoryapi.ParseDay("2026-02-28")}

func number(value float64) factoryapi.Number { return factoryapi.Number{Value: value, Valid: true} }

func TestActivity(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
		want map[factoryapi.Day]factoryapi.Activity
	}{
		{"no day", rows(""), map[factoryapi.Day]factoryapi.Activity{}},
		{
			"a day",
			rows(`{"date":"2026-02-28","daily_active_users":128,"weekly_active_users":312,"monthly_active_users":485,
				"daily_active_users_by_client":{"terminal-ui":95,"web":42},"sessions":890,"messages":12500,"user_messages":4200}`),
			map[factoryapi.Day]factoryapi.Activity{week.Last: {
				Daily: number(128), Weekly: number(312), Monthly: number(485),
				ByClient: map[string]float64{"terminal-ui": 95, "web": 42},
				Sessions: number(890), Messages: number(12500), UserMessages: number(4200),
			}},
		},
		{
			"fields that are null, absent or unknown",
			rows(`{"date":"2026-02-27T00:00:00Z","daily_active_users":null,"weekly_active_users":0,"daily_active_users_by_client":{"web":null},"seats":{"date":"2026-01-01"},"sessions":1.5e3}`),
			map[factoryapi.Day]factoryapi.Activity{week.Last - 1: {Weekly: number(0), ByClient: map[string]float64{}, Sessions: number(1500)}},
		},
		{
			"clients that are null, and two days",
			rows(`{"date":"2026-02-28","daily_active_users_by_client":null},{"date":"2026-02-22"}`),
			map[factoryapi.Day]factoryapi.Activity{week.Last: {ByClient: map[string]float64{}}, week.First: {}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := analyticsOf(t, tt.body).Activity(t.Context(), week)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, error %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	got, err := analyticsOf(t, rows(`{"date":"2026-02-28","billable_tokens":7.5,"input_tokens":1,"output_tokens":2,"cache_read_tokens":3,"by_model":[{"date":1}],"by_user":null}`)).Tokens(t.Context(), week)
	want := map[factoryapi.Day]factoryapi.Tokens{week.Last: {Billable: number(7.5), Input: number(1), Output: number(2), CacheRead: number(3)}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
}

func TestCreditsByModel(t *testing.T) {
	const body = `{"date":"2026-02-28","group_key":"opus","billable_tokens":7.5},
		{"date":"2026-02-28","group_key":"opus","billable_tokens":2},
		{"date":"2026-02-28","group_key":"unknown","billable_tokens":null},
		{"date":"2026-02-27","group_key":"sonnet","billable_tokens":0}`
	got, err := analyticsOf(t, rows(body)).CreditsByModel(t.Context(), week)
	want := map[factoryapi.Day]map[string]float64{week.Last: {"opus": 9.5}, week.Last - 1: {"sonnet": 0}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
}

func TestCreditLimits(t *testing.T) {
	for body, want := range map[string]factoryapi.CreditLimits{
		`{"globalLimit":2000000,"userLimits":[{"email":"a@acme.example","limit":1000000},{}]}`: {Global: number(2e6), OfUsers: number(2)},
		`{"globalLimit":null,"userLimits":[]}`:                                                 {OfUsers: number(0)},
		`{"globalLimit":2000000,"userLimits":null}`:                                            {Global: number(2e6)},
		`{"userLimits":[{"email":null}],"more":1}`:                                             {OfUsers: number(1)},
	} {
		got, err := analyticsOf(t, body).CreditLimits(t.Context())
		if err != nil || got != want {
			t.Errorf("%s: %+v, error %v, want %+v", body, got, err, want)
		}
	}
}

// All pages of a day, however long they are and however the last one ends.
func TestUsage(t *testing.T) {
	for _, lastCursor := range []string{"", "null", `""`} {
		for _, pageSize := range []int{1, 2, 100} {
			t.Run(fmt.Sprintf("cursor %q, page size %d", lastCursor, pageSize), func(t *testing.T) {
				client := newClient(t, serve(t, analytics(fakeapi.Unknowns{LastCursor: lastCursor})), factoryapi.Config{PageSize: pageSize})
				var got []string
				for page, err := range client.Usage(t.Context(), week.Last) {
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range page {
						got = append(got, fmt.Sprint(row.UserID, " ", row.Sessions.Value, " ", row.Credits.Value))
					}
				}
				if text := strings.Join(got, ", "); text != "user_a 2 700, user_left 2 700, user_zero 0 0" {
					t.Error(text)
				}
			})
		}
	}
}

func TestUsageOfOneRow(t *testing.T) {
	for _, tt := range []struct {
		name, row string
		want      factoryapi.Usage
	}{
		{"plain", `{"user_id":"u","date":"2026-02-28","sessions":1,"messages":2,"tool_calls":3,"billable_tokens":4.5}`,
			factoryapi.Usage{UserID: "u", Sessions: number(1), Messages: number(2), ToolCalls: number(3), Credits: number(4.5)}},
		{"nulls", `{"user_id":"u","date":null,"sessions":null,"messages":null,"tool_calls":0,"billable_tokens":null}`,
			factoryapi.Usage{UserID: "u", ToolCalls: number(0)}},
		{"a timestamp", `{"user_id":"u","date":"2026-02-28T00:00:00.000Z","sessions":1}`, factoryapi.Usage{UserID: "u", Sessions: number(1)}},
		{"nothing but a null", `{"user_id":"u","sessions":null}`, factoryapi.Usage{UserID: "u"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for page, err := range analyticsOf(t, lastRows(tt.row)).Usage(t.Context(), week.Last) {
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
		{"a date of another form", "tokens", rows(`{"date":"28.2.2026"}`), `"date" that is not a day like 2026-01-14`},
		{"a date that is a number", "users", lastRows(`{"user_id":"u","date":20260228,"sessions":1}`), `"date" that is not a day`},
		{"a day that was not asked for", "activity", rows(`{"date":"2026-02-21"}`), "is 2026-02-21, but 2026-02-22 to 2026-02-28 was asked for"},
		{"a day after those asked for", "activity", rows(`{"date":"2026-03-01"}`), "is 2026-03-01, but 2026-02-22 to 2026-02-28 was asked for"},
		{"a user of another day", "users", lastRows(`{"user_id":"u","date":"2026-02-27","sessions":1}`), "is 2026-02-27, but 2026-02-28 was asked for"},
		{"a day twice", "tokens", rows(`{"date":"2026-02-28"},{"date":"2026-02-28"}`), "is a second one of 2026-02-28"},
		{"more pages of days", "activity", `{"data":[],"meta":{"has_more":true}}`, "no pages"},
		{"a number that is text", "activity", rows(`{"date":"2026-02-28","sessions":"12"}`), `"sessions" that is not a number`},
		{"a number past all bounds", "tokens", rows(`{"date":"2026-02-28","input_tokens":1e999}`), `"input_tokens" that is larger than 9007199254740992`},
		{"a number below zero", "activity", rows(`{"date":"2026-02-28","daily_active_users":-1}`), `"daily_active_users" that is below zero`},
		{"a client that is text", "activity", rows(`{"date":"2026-02-28","daily_active_users_by_client":{"web":"1"}}`), "not a number"},
		{"clients without end", "activity", rows(`{"date":"2026-02-28","daily_active_users_by_client":{` + many(101, `,"client-%d":1`) + `}}`), "more than 100 names"},
		{"a user without an id", "users", lastRows(`{"user":"u","sessions":1}`), `"user_id"`},
		{"renamed numbers", "users", lastRows(`{` + user + `,"session_count":1}`), "none of"},
		{"a boolean for a number", "users", lastRows(`{` + user + `,"sessions":true}`), `"sessions" that is not a number`},
		{"credits below zero", "users", lastRows(`{` + user + `,"sessions":1,"billable_tokens":-0.5}`), `"billable_tokens" that is below zero`},
		{"no has_more", "users", `{"data":[{` + user + `,"sessions":1}],"meta":{}}`, `"has_more"`},
		{"has_more is text", "users", `{"data":[],"meta":{"has_more":"false"}}`, `"has_more"`},
		{"more without a cursor", "users", `{"data":[],"meta":{"has_more":true,"next_cursor":null}}`, `"next_cursor"`},
		{"a cursor that was used", "users", `{"data":[],"meta":{"has_more":true,"next_cursor":"u"}}`, "used before"},
		{"another day than was asked for", "users", `{"data":[],"meta":{"has_more":false,"start_date":"2026-02-27","end_date":"2026-02-28"}}`, "answer is for 2026-02-27 to 2026-02-28"},
		{"fewer days than were asked for", "activity", `{"data":[],"meta":{"start_date":"2026-02-22","end_date":"2026-02-27"}}`, "but 2026-02-22 to 2026-02-28 was asked for"},
		{"rows without end", "tokens", rows(strings.Repeat(`{"date":"2026-02-28"},`, 1<<15) + `{}`), "more than 32768 elements"},
		{"no model", "models", rows(`{"date":"2026-02-28","billable_tokens":1}`), `no "group_key"`},
		{"models without end", "models", rows(many(1001, `,{"date":"2026-02-28","group_key":"model-%d","billable_tokens":1}`)), "more than 1000 models"},
		{"credits of a model below zero", "models", rows(`{"date":"2026-02-28","group_key":"m","billable_tokens":-1}`), "below zero"},
		{"a limit that is text", "limits", `{"globalLimit":"many","userLimits":[]}`, `"globalLimit" is not a number`},
		{"no limits", "limits", `{"limit":null}`, `without "globalLimit"`},
		{"limits that are no object", "limits", `[1]`, "not an object"},
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
	for _, meta := range []string{`{}`, `null`, `{"start_date":null,"end_date":1}`, `{"start_date":"2026-02-22T00:00:00Z","end_date":"2026-03-01T00:00:00Z"}`} {
		if _, err := analyticsOf(t, `{"data":[],"meta":`+meta+`}`).Activity(t.Context(), week); err != nil {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

func TestAnalyticsRequests(t *testing.T) {
	rec := record(analytics(fakeapi.Unknowns{}))
	var endpoints []string
	client := newClient(t, serve(t, rec), factoryapi.Config{URL: "http://localhost/base/", PageSize: 1, UserAgent: "test/1",
		Observe: func(endpoint string) func(error) {
			endpoints = append(endpoints, endpoint)
			return func(error) {}
		}})
	for _, endpoint := range []string{"activity", "tokens", "users", "models", "limits"} {
		_ = askFor(t.Context(), client, endpoint) // the base is not the fake's: a 404
	}
	for i, want := range []string{
		"/base/api/v1/analytics/activity?endDate=2026-02-28&startDate=2026-02-22",
		"/base/api/v1/analytics/tokens?endDate=2026-02-28&startDate=2026-02-22",
		"/base/api/v1/analytics/users?endDate=2026-02-28&limit=1&startDate=2026-02-28",
		"/base/api/v1/analytics/tokens?endDate=2026-02-28&group_by=model&startDate=2026-02-22",
		"/base/api/v0/organization/usage/limits/users",
	} {
		request := rec.all()[i]
		if got := request.URL.String(); got != want || request.Header.Get("Authorization") != "Bearer "+key || request.UserAgent() != "test/1" {
			t.Errorf("request %d: %s with %v, want %s", i, got, request.Header, want)
		}
		if endpoints[i] != factoryapi.AnalyticsEndpoint {
			t.Errorf("request %d is observed as %s", i, endpoints[i])
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
	f.Add(lastRows(`{"user_id":"u","date":"2026-02-28","sessions":1,"messages":2,"tool_calls":3,"billable_tokens":4}`))
	f.Add(`{"data":[{"user_id":"u\u0000","sessions":null}],"meta":{"has_more":true,"next_cursor":"x","start_date":"2026-02-28"}}`)
	f.Add(`{"data":[[]],"data":[],"meta":{"has_more":false}}`)
	f.Add(rows(`{"date":"2026-02-28","daily_active_users":1,"daily_active_users_by_client":{"web":"1","cli":{}},"sessions":[1]}`))
	f.Add(rows(`{"date":"2026-02-28","group_key":"m","billable_tokens":1e3},{"date":"2026-02-28","group_key":"m","billable_tokens":-1}`))
	f.Add(`{"globalLimit":1000000,"userLimits":[{"email":"a","limit":1}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		client := analyticsOf(t, body)
		for _, endpoint := range []string{"activity", "tokens", "models", "limits"} {
			if err := askFor(t.Context(), client, endpoint); err != nil {
				_ = apiError(t, err)
			}
		}
		for page, err := range client.Usage(t.Context(), week.Last) {
			if err != nil {
				_ = apiError(t, err)
			}
			for _, row := range page {
				if row.UserID == "" || min(row.Sessions.Value, row.Messages.Value, row.ToolCalls.Value, row.Credits.Value) < 0 {
					t.Errorf("row %+v", row)
				}
			}
		}
	})
}

// analytics are those of an organization of four, one of whom did nothing, on 2026-03-01.
func analytics(u fakeapi.Unknowns) *fakeapi.Server {
	work := fakeapi.Work{Clients: []string{"web"}, Sessions: 2, UserMessages: 3, AssistantMessages: 6, ToolCalls: 40, BillableTokens: 700}
	a := fakeapi.NewAnalytics(
		fakeapi.UserWork{ID: "user_a", On: fakeapi.OnDays(work, "2026-02-20", "2026-02-28")},
		fakeapi.UserWork{ID: "user_b", On: fakeapi.OnDays(work, "2026-02-27")},
		fakeapi.UserWork{ID: "user_left", On: fakeapi.OnDays(work, "2026-02-22", "2026-02-27", "2026-02-28")},
		fakeapi.UserWork{ID: "user_zero", On: fakeapi.OnDays(fakeapi.Work{}, "2026-02-28")},
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

// askFor asks an endpoint for a week, or a day.
func askFor(ctx context.Context, client *factoryapi.Client, endpoint string) (err error) {
	switch endpoint {
	case "activity":
		_, err = client.Activity(ctx, week)
	case "tokens":
		_, err = client.Tokens(ctx, week)
	case "models":
		_, err = client.CreditsByModel(ctx, week)
	case "limits":
		_, err = client.CreditLimits(ctx)
	default:
		for _, pageErr := range client.Usage(ctx, week.Last) {
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

// many is a list of so many elements of this form, which begins with a comma.
func many(n int, form string) string {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, form, i)
	}
	return list.String()[1:]
}
