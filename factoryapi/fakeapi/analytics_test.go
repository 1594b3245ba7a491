package fakeapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"factory_exporter/factoryapi/fakeapi"
)

func TestAnalyticsKeepToTheirDescription(t *testing.T) {
	const (
		days     = "startDate=2026-02-20&endDate=2026-02-28"
		activity = fakeapi.AnalyticsPath + "activity"
		tokens   = fakeapi.AnalyticsPath + "tokens"
		users    = fakeapi.AnalyticsPath + "users"
		limits   = fakeapi.LimitsPath + "users"
	)
	limited := fakeapi.NewAnalytics()
	limited.SetLimits(fakeapi.Limits{Global: 1_000_000, OfUsers: map[string]int{"a@acme.example": 1_000_000}})
	failing := func(code int) http.Handler {
		server := analytics(fakeapi.Unknowns{})
		server.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Status(code)})
		return server
	}
	for _, tt := range []struct {
		name   string
		server http.Handler
		path   string
		query  string
		status int
	}{
		{"activity", analytics(fakeapi.Unknowns{}), activity, days, 200},
		{"tokens", analytics(fakeapi.Unknowns{}), tokens, days, 200},
		{"idle days", analytics(fakeapi.Unknowns{IdleDays: true}), activity, days, 200},
		{"a range without rows", fakeAnalytics(fakeapi.NewAnalytics()), users, days, 200},
		{"rows of users", analytics(fakeapi.Unknowns{}), users, days, 200},
		{"tokens by model", analytics(fakeapi.Unknowns{}), tokens, days + "&group_by=model", 200},
		{"tokens by something else", analytics(fakeapi.Unknowns{}), tokens, days + "&group_by=mood", 400},
		{"limits", fakeAnalytics(limited), limits, "", 200},
		{"no limits", fakeAnalytics(fakeapi.NewAnalytics()), limits, "", 200},
		{"a page before the last", analytics(fakeapi.Unknowns{}), users, days + "&limit=1", 200},
		{"a last cursor that is null", analytics(fakeapi.Unknowns{LastCursor: `null`}), users, days, 200},
		{"a last cursor that is empty", analytics(fakeapi.Unknowns{LastCursor: `""`}), users, days, 200},
		{"today", analytics(fakeapi.Unknowns{}), activity, "startDate=2026-03-01&endDate=2026-03-01", 400},
		{"no dates", analytics(fakeapi.Unknowns{}), users, "", 400},
		{"injected 401", failing(401), users, days, 401},
		{"injected 403", failing(403), tokens, days, 403},
		{"injected 500", failing(500), activity, days, 500},
		{"not enabled", fakeAnalytics(nil), activity, days, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := ask(tt.server, tt.path, tt.query)
			if answer.Code != tt.status {
				t.Errorf("status %d, want %d: %s", answer.Code, tt.status, answer.Body)
			}
			document := load(t, "analytics.yaml", tt.path)
			if err := document.validate(answer.Code, answer.Header(), answer.Body.Bytes()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnalyticsOfDays(t *testing.T) {
	for _, tt := range []struct {
		name     string
		unknowns fakeapi.Unknowns
		want     string
	}{
		{"as they are", fakeapi.Unknowns{}, "2026-02-20:2/2/2 2026-02-27:2/2/3 2026-02-28:2/3/3"},
		{"yesterday is late", fakeapi.Unknowns{Late: true}, "2026-02-20:2/2/2 2026-02-27:2/2/3"},
		{"a day is missing", fakeapi.Unknowns{Without: []string{"2026-02-27"}}, "2026-02-20:2/2/2 2026-02-28:2/2/2"},
		{"idle days have rows", fakeapi.Unknowns{IdleDays: true, Without: []string{"2026-02-22", "2026-02-23", "2026-02-24", "2026-02-25", "2026-02-26"}},
			"2026-02-20:2/2/2 2026-02-21:0/2/2 2026-02-27:2/2/3 2026-02-28:2/3/3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var answer struct {
				Data []struct {
					Date    string
					Daily   int `json:"daily_active_users"`
					Weekly  int `json:"weekly_active_users"`
					Monthly int `json:"monthly_active_users"`
				}
			}
			body := ask(analytics(tt.unknowns), fakeapi.AnalyticsPath+"activity", "startDate=2026-02-20&endDate=2026-02-28").Body.Bytes()
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range answer.Data {
				got = append(got, fmt.Sprintf("%s:%d/%d/%d", row.Date, row.Daily, row.Weekly, row.Monthly))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnalyticsRefuse(t *testing.T) {
	server := analytics(fakeapi.Unknowns{Reach: 7})
	for _, tt := range []struct{ query, detail string }{
		{"startDate=2026-02-28&endDate=2026-03-01", "Cannot query today's date"},
		{"startDate=2026-02-28&endDate=2026-02-27", "after endDate"},
		{"startDate=2026-01-13&endDate=2026-01-14", "before 2026-01-14"},
		{"startDate=2026-02-21&endDate=2026-02-21", "kept for 7 days"},
		{"startDate=28.2.2026&endDate=2026-02-28", "not a date"},
		{"startDate=2026-02-28", "endDate"},
		{"startDate=2026-02-28&endDate=2026-02-28&limit=101", "limit"},
	} {
		answer := ask(server, fakeapi.AnalyticsPath+"users", tt.query)
		if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), tt.detail) {
			t.Errorf("%s: status %d, %s, want 400 about %q", tt.query, answer.Code, answer.Body, tt.detail)
		}
	}
	if answer := ask(server, fakeapi.AnalyticsPath+"productivity", "startDate=2026-02-28&endDate=2026-02-28"); answer.Code != http.StatusNotFound {
		t.Errorf("an unknown endpoint has status %d", answer.Code)
	}
}

// analytics serves the analytics of somebody who worked on three days, of one who worked
// on one, of one who has left, and of one who has a row but did nothing. The time is
// noon().
func analytics(u fakeapi.Unknowns) *fakeapi.Server {
	work := fakeapi.Work{Clients: []string{"web"}, Sessions: 2, UserMessages: 3, AssistantMessages: 6, ToolCalls: 40, Model: "droid-core", BillableTokens: 500}
	a := fakeapi.NewAnalytics(
		fakeapi.UserWork{ID: "user_b", Email: "b@acme.example", On: fakeapi.OnDays(work, "2026-02-27")},
		fakeapi.UserWork{ID: "user_a", On: fakeapi.OnDays(work, "2026-02-20", "2026-02-28")},
		fakeapi.UserWork{ID: "user_left", On: fakeapi.OnDays(work, "2026-02-20", "2026-02-27", "2026-02-28")},
		fakeapi.UserWork{ID: "user_zero", On: fakeapi.OnDays(fakeapi.Work{}, "2026-02-22")},
		fakeapi.UserWork{ID: "user_not_yet", On: fakeapi.OnDays(work, "2026-03-01")},
	)
	a.Choose(u)
	return fakeAnalytics(a)
}

func fakeAnalytics(a *fakeapi.Analytics) *fakeapi.Server {
	server := fakeapi.NewServer(fakeapi.NewOrganization(), key)
	if a != nil {
		a.Now = noon
		server.SetAnalytics(a)
	}
	return server
}
