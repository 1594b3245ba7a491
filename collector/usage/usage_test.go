package usage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// may31 is the instant of most readings here. The newest day is then 2026-05-30.
var may31 = noon("2026-05-31")

func TestWhatAUserDid(t *testing.T) {
	nothing := fakeapi.Work{}
	w := newWorld(t,
		fakeapi.UserWork{ID: "today", On: fakeapi.OnDays(work(), days("2026-05-30", 3)...)},
		fakeapi.UserWork{ID: "week", On: fakeapi.OnDays(work(), "2026-05-24")},
		fakeapi.UserWork{ID: "before", On: fakeapi.OnDays(work(), "2026-05-23")},
		fakeapi.UserWork{ID: "zero", On: fakeapi.OnDays(nothing, "2026-05-30")},
		fakeapi.UserWork{ID: "old", On: fakeapi.OnDays(work(), "2026-03-02")},
		fakeapi.UserWork{ID: "too old", On: fakeapi.OnDays(work(), "2026-03-01")},
	)
	v, _ := w.mustRead(t, may31)
	if got := shown(v); got != "2026-05-30, 90 known, 1d, 7d, 30d, 90d" {
		t.Error(got)
	}
	for _, tt := range []struct {
		id   string
		last string
		want string // use and credits in each window
	}{
		{"today", "2026-05-30", "used 1000, used 3000, used 3000, used 3000"},
		{"week", "2026-05-24", "no, used 1000, used 1000, used 1000"},
		{"before", "2026-05-23", "no, no, used 1000, used 1000"},
		{"zero", "", "no, no, no, no"},
		{"old", "2026-03-02", "no, no, no, used 1000"},
		{"too old", "", "no, no, no, no"},
		{"TODAY", "", "no, no, no, no"},
	} {
		if got := did(v, tt.id); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.id, got, tt.want)
		}
		if got := v.Of(tt.id).LastUsed(); got != factoryapi.Day(0) && got.String() != tt.last || got == 0 && tt.last != "" {
			t.Errorf("%s: last used on %s, want %q", tt.id, got, tt.last)
		}
	}
	for i, want := range []usage.Window{
		{First: day("2026-05-30"), ActiveDays: 1}, {First: day("2026-05-24"), ActiveDays: 4},
		{First: day("2026-05-01"), ActiveDays: 5}, {First: day("2026-03-02"), ActiveDays: 6},
	} {
		if got := v.Windows[i]; got.First != want.First || got.ActiveDays != want.ActiveDays || !got.Priced {
			t.Errorf("window %d: from %s, %d active days, priced: %t; want from %s, %d", i, got.First, got.ActiveDays, got.Priced, want.First, want.ActiveDays)
		}
	}
	if v.Users != 5 || v.Used != 4 || !v.Of("zero").Known() || v.Of("too old").Known() {
		t.Errorf("%d users, of whom %d used the product, want 5 and 4", v.Users, v.Used)
	}
}

func day(text string) factoryapi.Day { return factoryapi.DayOf(noon(text)) }

// did tells what a user did in each window.
func did(v *usage.View, id string) string {
	var windows []string
	for i := range v.Windows {
		use := v.Of(id).In(i)
		switch text := "no"; {
		case use.Unclear:
			windows = append(windows, "unclear")
		case use.Used:
			text = "used"
			fallthrough
		default:
			if use.Credits > 0 {
				text += fmt.Sprint(" ", use.Credits)
			}
			windows = append(windows, text)
		}
	}
	return strings.Join(windows, ", ")
}

// A number that is missing makes no claim.
func TestRowsThatDoNotTellEverything(t *testing.T) {
	const yesterday = "2026-05-30"
	for _, tt := range []struct {
		name   string
		change func(row map[string]any)
		want   string // of the first two windows
		priced bool
	}{
		{"as they are", func(map[string]any) {}, "used 1000, used 2000", true},
		{"no sessions", func(row map[string]any) { row["sessions"] = nil }, "used 1000, used 2000", true},
		{"only tool calls", func(row map[string]any) { row["sessions"], row["messages"] = 0, nil }, "used 1000, used 2000", true},
		{"all numbers are null", func(row map[string]any) { row["sessions"], row["messages"], row["tool_calls"] = nil, nil, nil }, "unclear, used 2000", true},
		{"zeros and a null", func(row map[string]any) { row["sessions"], row["messages"], row["tool_calls"] = nil, 0, 0 }, "unclear, used 2000", true},
		{"credits are null", func(row map[string]any) { row["billable_tokens"] = nil }, "used, used 1000", false},
		{"a part of a credit", func(row map[string]any) { row["billable_tokens"] = 999.5 }, "used 1000, used 2000", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(1)...)
			w.config.Windows = []int{1, 2}
			w.restart()
			w.usersFail(yesterday, fakeapi.EditRows(tt.change))
			v, _ := w.mustRead(t, may31)
			if got := did(v, "user_0"); got != tt.want || v.Windows[0].Priced != tt.priced || v.Windows[1].Priced != tt.priced {
				t.Errorf("%s with credits known %t and %t, want %s with %t", got, v.Windows[0].Priced, v.Windows[1].Priced, tt.want, tt.priced)
			}
		})
	}
}

// The newest day is believed from half of its rows on.
func TestRowsOfAFewUsers(t *testing.T) {
	for rows, newest := range map[int]string{5: "2026-05-29", 6: "2026-05-30"} {
		w := newWorld(t, everyDay(12)...)
		w.usersFail("2026-05-30", fakeapi.Edit(func(page map[string]any) { page["data"] = page["data"].([]any)[:rows] }))
		if v, _ := w.mustRead(t, may31); v.Day.String() != newest {
			t.Errorf("with %d of 12 rows, the newest day is %s, want %s", rows, v.Day, newest)
		}
	}
}

// The list of a day may shift while it is read. A row that tells of use counts, wherever
// it stands.
func TestUserWhoIsThereTwice(t *testing.T) {
	zeros := map[string]any{"user_id": "user_0", "sessions": 0, "messages": 0, "tool_calls": 0, "billable_tokens": 0}
	other := map[string]any{"user_id": "user_0", "sessions": 0, "billable_tokens": 5}
	for _, tt := range []struct {
		name          string
		first, second []any
		want          string
	}{
		{"zeros first", []any{zeros}, nil, "used 1000, used 7000"},
		{"zeros second", nil, []any{zeros}, "used 1000, used 7000"},
		{"nulls second, and other credits", nil, []any{other}, "used 1000, used 7000"},
		{"other credits first", []any{other}, nil, "used 5, used 6005"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(1)...)
			w.usersFail("2026-05-30", fakeapi.Edit(func(page map[string]any) {
				page["data"] = slices.Concat(tt.first, page["data"].([]any), tt.second)
			}))
			v, _ := w.mustRead(t, may31)
			if got := did(v, "user_0"); !strings.HasPrefix(got, tt.want) || v.Users != 1 || v.Used != 1 || v.Of("user_0").LastUsed() != day("2026-05-30") || v.Windows[0].ActiveDays != 1 {
				t.Errorf("%s of %d users, of whom %d used the product, last on %s", got, v.Users, v.Used, v.Of("user_0").LastUsed())
			}
		})
	}
}

// Without rows of users, a day is known only if no user was active, or, where that is not
// told, nothing says that somebody worked.
func TestDayWithoutRowsOfUsers(t *testing.T) {
	null := func(names ...string) func(map[string]any) {
		return func(row map[string]any) {
			for name := range row {
				if slices.Contains(names, name) || len(names) == 0 && name != "date" {
					row[name] = nil
				}
			}
		}
	}
	keep := func(map[string]any) {}
	activeUsers := null("daily_active_users")
	for _, tt := range []struct {
		name, day        string
		activity, tokens func(row map[string]any)
		want, line       string
	}{
		{"sessions, newest day", "2026-05-30", activeUsers, keep, "2026-05-29, 90 known, 1d, 7d, 30d, 90d", ""},
		{"sessions", "2026-05-20", activeUsers, keep, "2026-05-30, 10 known, 1d, 7d", "tell of work on 2026-05-20, but users has 0"},
		{"no active users, but messages", "2026-05-20", func(row map[string]any) { row["daily_active_users"] = 0 }, keep, "2026-05-30, 90 known, 1d, 7d, 30d, 90d", ""},
		{"active users are not told", "2026-05-20", func(row map[string]any) { delete(row, "daily_active_users") }, keep, "2026-05-30, 10 known, 1d, 7d", "on 2026-05-20"},
		{"credits alone, newest day", "2026-05-30", null(), keep, "2026-05-29, 90 known, 1d, 7d, 30d, 90d", ""},
		{"credits alone", "2026-05-26", null(), keep, "2026-05-30, 4 known, 1d", "on 2026-05-26"},
		{"nothing is told, newest day", "2026-05-30", null(), null(), "2026-05-29, 90 known, 1d, 7d, 30d, 90d", ""},
		{"nothing is told", "2026-05-26", null(), null(), "2026-05-30, 90 known, 1d, 7d, 30d, 90d", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(3)...)
			w.analytics.Choose(fakeapi.Unknowns{IdleDays: true, Unwritten: []string{tt.day}})
			for endpoint, change := range map[string]func(map[string]any){"activity": tt.activity, "tokens": tt.tokens} {
				w.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + endpoint, Serve: fakeapi.EditRows(func(row map[string]any) {
					if row["date"] == tt.day {
						change(row)
					}
				})})
			}
			if v, _ := w.mustRead(t, may31); shown(v) != tt.want {
				t.Errorf("%s, want %s", shown(v), tt.want)
			}
			if tt.line == "" {
				w.log.Check(t)
			} else {
				w.log.Check(t, tt.line)
			}
		})
	}
}

// Who was once seen using the product on a day did use it.
func TestKnownDayThatLosesRows(t *testing.T) {
	guest := fakeapi.UserWork{ID: "user_guest", On: fakeapi.OnDays(work(), "2026-05-30")} // in the last row
	for then, priced := range map[int]bool{12: true, 3: false} {
		w := newWorld(t, append(everyDay(11), guest)...)
		w.config.Windows = []int{1, 2, 3}
		w.restart()
		w.mustRead(t, may31)
		has := func(rows int) {
			w.api.ClearFaults()
			w.usersFail("2026-05-30", fakeapi.Edit(func(page map[string]any) {
				page["data"] = page["data"].([]any)[:rows]
				page["data"].([]any)[0].(map[string]any)["billable_tokens"] = 900
			}))
		}
		has(7)
		v, _ := w.mustRead(t, noon("2026-06-01"))
		if v.Used != 12 || !v.Windows[0].Priced || v.Windows[1].Priced || did(v, "user_0") != "used 1000, used 1900, used 2900" || did(v, "user_guest") != "no, used 1000, used 1000" {
			t.Errorf("%d of 12 used the product, %+v, %s, %s", v.Used, v.Windows, did(v, "user_0"), did(v, "user_guest"))
		}
		has(then)
		if v, _ = w.mustRead(t, noon("2026-06-02")); v.Used != 12 || v.Windows[2].Priced != priced {
			t.Errorf("with %d rows: %d used the product, %+v", then, v.Used, v.Windows)
		}
		w.log.Check(t, `credits of users are not shown" day=2026-05-30 rows=7 before=12`)
	}
}

// A null makes no claim once a number has taken its place, and does where the row is gone.
func TestNumbersThatAreToldLater(t *testing.T) {
	idle := func(row any) bool { return row.(map[string]any)["user_id"] == "idle" }
	for want, later := range map[string]fakeapi.Behavior{
		"no, no, no, no":                nil,
		"no, unclear, unclear, unclear": fakeapi.Edit(func(page map[string]any) { page["data"] = slices.DeleteFunc(page["data"].([]any), idle) }),
	} {
		w := newWorld(t, append(everyDay(3), fakeapi.UserWork{ID: "idle", On: fakeapi.OnDays(fakeapi.Work{}, "2026-05-30")})...)
		w.usersFail("2026-05-30", fakeapi.EditRows(func(row map[string]any) {
			if idle(row) {
				row["sessions"], row["messages"], row["tool_calls"] = nil, nil, nil
			}
		}))
		if v, _ := w.mustRead(t, may31); did(v, "idle") != "unclear, unclear, unclear, unclear" {
			t.Errorf("before: %s", did(v, "idle"))
		}
		w.api.ClearFaults()
		if later != nil {
			w.usersFail("2026-05-30", later)
		}
		if v, _ := w.mustRead(t, noon("2026-06-01")); did(v, "idle") != want || v.Windows[3].Priced != (later == nil) {
			t.Errorf("after: %s, want %s; credits known: %t", did(v, "idle"), want, v.Windows[3].Priced)
		}
		if later == nil {
			w.log.Check(t)
		}
	}
}

// The rows that were late are read, even where nothing else was for days.
func TestRowsThatCameDuringAnOutage(t *testing.T) {
	w := newWorld(t, everyDay(12)...)
	w.usersFail("2026-05-30", fakeapi.Edit(func(page map[string]any) { page["data"] = page["data"].([]any)[:7] }))
	if v, _ := w.mustRead(t, may31); did(v, "user_9") != "no, used 6000, used 29000, used 89000" {
		t.Errorf("before it: %s", did(v, "user_9"))
	}
	w.api.ClearFaults()
	if v, _ := w.mustRead(t, noon("2026-06-06")); did(v, "user_9") != "used 1000, used 7000, used 30000, used 90000" {
		t.Errorf("after it: %s", did(v, "user_9"))
	}
}

// A day without any row is one on which nobody worked, until activity tells otherwise.
func TestDayThatComesAfterLaterOnes(t *testing.T) {
	w := newWorld(t, everyDay(2)...)
	without, unwritten := fakeapi.Unknowns{Without: []string{"2026-05-30"}}, fakeapi.Unknowns{Unwritten: []string{"2026-05-30"}}
	for _, step := range []struct {
		day      string
		unknowns fakeapi.Unknowns
		want     string
	}{
		{"2026-06-01", without, "used 1000, used 6000, used 29000, used 89000"},
		{"2026-06-02", without, "used 1000, used 6000, used 29000, used 89000"},
		{"2026-06-03", unwritten, "used 1000, no, no, no"},
		{"2026-06-04", fakeapi.Unknowns{}, "used 1000, used 7000, used 30000, used 90000"},
	} {
		w.analytics.Choose(step.unknowns)
		if v, _ := w.mustRead(t, noon(step.day)); did(v, "user_0") != step.want {
			t.Errorf("%s: %s, want %s", step.day, did(v, "user_0"), step.want)
		}
	}
	w.log.Check(t, "activity counts 2 active users on 2026-05-30, but users has 0")
}

// The day that is shown was one on which nobody worked, until activity tells otherwise and no newer day is there.
func TestShownDayThatComesLater(t *testing.T) {
	worked := false
	w := newWorld(t, fakeapi.UserWork{ID: "user", On: func(d time.Time) (fakeapi.Work, bool) {
		if !worked && d.Format(time.DateOnly) == "2026-05-30" {
			return fakeapi.Work{}, false
		}
		return work(), true
	}})
	if v, _ := w.mustRead(t, may31); shown(v) != "2026-05-30, 90 known, 1d, 7d, 30d, 90d" || did(v, "user") != "no, used 6000, used 29000, used 89000" {
		t.Errorf("before: %s; %s", shown(v), did(v, "user"))
	}
	worked = true
	w.analytics.Choose(fakeapi.Unknowns{IdleDays: true, Late: true, Unwritten: []string{"2026-05-30"}})
	if v, _ := w.mustRead(t, noon("2026-06-01")); shown(v) != "2026-05-29, 90 known, 1d, 7d, 30d, 90d" || did(v, "user") != "used 1000, used 7000, used 30000, used 90000" {
		t.Errorf("after: %s; %s", shown(v), did(v, "user"))
	}
}

// An older day is taken as it is if it has rows, and the log says so.
func TestRowsOfZeros(t *testing.T) {
	w := newWorld(t, everyDay(3)...)
	w.usersFail("2026-05-20", fakeapi.EditRows(func(row map[string]any) { row["sessions"], row["messages"], row["tool_calls"] = 0, 0, 0 }))
	for i := range 3 {
		if v, _ := w.mustRead(t, may31.AddDate(0, 0, i)); v.KnownDays != 90 {
			t.Error(shown(v))
		}
	}
	w.log.Check(t, `taken as it is" day=2026-05-20 rows=0 active_users=3`)
}

// A number that is too large to be added up makes no claim.
func TestCreditsAreNotAddedUpPastTheLargestNumber(t *testing.T) {
	for credits, priced := range map[float64]bool{1 << 35: true, 1 << 36: false, 1 << 53: false} {
		ledger := usage.NewLedger(usage.Config{Windows: []int{1}})
		var v *usage.View
		if err := ledger.Read(t.Context(), harness.Use{Rows: 3000, IDs: 3000, Credits: credits}, may31, func(view *usage.View) { v = view }); err != nil {
			t.Fatal(err)
		}
		if v.Windows[0].Priced != priced || v.Used != 3000 {
			t.Errorf("%v credits of each: shown %t, want %t; %d used the product", credits, v.Windows[0].Priced, priced, v.Used)
		}
	}
}

func TestWindowsOfManyLengths(t *testing.T) {
	for _, tt := range []struct {
		name    string
		windows []int
		known   int
		covered []bool
	}{
		{"no window", nil, 1, []bool{}},
		{"not of whole days", []int{0}, 1, []bool{false}},
		{"the same twice, and out of order", []int{7, 0, 2, 7}, 7, []bool{true, false, true, true}},
		{"from before the analytics begin", []int{137, 138}, 137, []bool{true, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(2)...)
			w.config.Windows = tt.windows
			w.restart()
			v, _ := w.mustRead(t, may31)
			covered := []bool{}
			for i, length := range tt.windows {
				covered = append(covered, v.Covers(i))
				if v.Covers(i) && v.Of("user_1").In(i).Credits != uint64(1000*length) {
					t.Errorf("window %d: %+v", i, v.Of("user_1").In(i))
				}
			}
			if v.KnownDays != tt.known || !slices.Equal(covered, tt.covered) {
				t.Errorf("%d days known, covered %v, want %d, %v", v.KnownDays, covered, tt.known, tt.covered)
			}
		})
	}
}

// Each window appears once its days are known, and the totals with the first one.
func TestWindowsAppearOneAfterAnother(t *testing.T) {
	w := newWorld(t, everyDay(2)...)
	w.mustRead(t, may31)
	var appeared []string
	for i, v := range w.views {
		if i > 0 && v.KnownDays > w.views[i-1].KnownDays+1 {
			t.Errorf("%d days known after %d", v.KnownDays, w.views[i-1].KnownDays)
		}
		if v.Activity.Daily.Value != 2 || v.Tokens.Billable.Value != 2000 || v.CreditsByModel["plain"] != 2000 {
			t.Errorf("%d days known: totals %+v, %+v, %v", v.KnownDays, v.Activity, v.Tokens, v.CreditsByModel)
		}
		if text := shown(v); i == 0 || strings.Count(text, "d,") != strings.Count(shown(w.views[i-1]), "d,") {
			appeared = append(appeared, text)
		}
	}
	want := []string{"2026-05-30, 1 known, 1d", "2026-05-30, 7 known, 1d, 7d", "2026-05-30, 30 known, 1d, 7d, 30d", "2026-05-30, 90 known, 1d, 7d, 30d, 90d"}
	if !slices.Equal(appeared, want) {
		t.Errorf("appeared %q, want %q", appeared, want)
	}
}

// What a reading asks for. Totals are four requests: activity, tokens, tokens by model and
// limits. A day is a request for each page of its users, and one for its activity if it is
// older than a week.
func TestRequests(t *testing.T) {
	w := newWorld(t, everyDay(150)...)
	const totals, day = 4, 2
	for _, tt := range []struct {
		name string
		at   time.Time
		want int
	}{
		{"first", may31, totals + 90*day + 83},
		{"again on the same day", may31.Add(time.Hour), totals},
		{"the second day", noon("2026-06-01"), totals + 3*day},
		{"four days later", noon("2026-06-05"), totals + 6*day}, // two of them again
		{"ten days later", noon("2026-06-15"), totals + 12*day + 5},
	} {
		if v, n := w.mustRead(t, tt.at); n != tt.want || v.KnownDays != 90 {
			t.Errorf("%s: %d requests, want %d; %s", tt.name, n, tt.want, shown(v))
		}
	}
	w.restart()
	if v, n := w.mustRead(t, noon("2026-06-15")); n != totals+90*day+83 || v.KnownDays != 90 {
		t.Errorf("after a restart: %d requests; %s", n, shown(v))
	}
}

// step is a reading in a story of weeks.
type step struct {
	at       string // noon of this day
	unknowns fakeapi.Unknowns
	fails    fakeapi.Behavior // strikes all endpoints of the analytics
	err      string           // part of the error, empty for none
	shown    string
}

func TestWeeks(t *testing.T) {
	idle := func(u fakeapi.Unknowns) fakeapi.Unknowns { u.IdleDays = true; return u }
	plain := idle(fakeapi.Unknowns{})
	all := func(day string) string { return day + ", 90 known, 1d, 7d, 30d, 90d" }
	for _, tt := range []struct {
		name  string
		steps []step
		lines []string
	}{
		{"a day is late", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-06-01", idle(fakeapi.Unknowns{Late: true}), nil, "", all("2026-05-30")},
			{"2026-06-01", plain, nil, "", all("2026-05-31")},
		}, nil},
		{"the first day is late", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Late: true}), nil, "", all("2026-05-29")},
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
		}, nil},
		{"a day has no rows of users, then half of them, then all", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Unwritten: []string{"2026-05-30"}}), nil, "", all("2026-05-29")},
			{"2026-05-31", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-30"}}), nil, "", all("2026-05-29")},
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
		}, nil},
		{"a day stays half written", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-30"}}), nil, "", all("2026-05-29")},
			{"2026-06-01", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-30"}}), nil, "", "2026-05-31, 1 known, 1d"},
			{"2026-06-02", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-30"}}), nil, "", all("2026-06-01")},
		}, []string{"activity counts 12 active users on 2026-05-30, but users has 3", `taken as it is" day=2026-05-30 rows=3 active_users=12`}},
		{"a day in the middle has no rows of users, until it has", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Unwritten: []string{"2026-05-20"}}), nil, "", "2026-05-30, 10 known, 1d, 7d"},
			{"2026-06-01", idle(fakeapi.Unknowns{Unwritten: []string{"2026-05-20"}}), nil, "", "2026-05-31, 11 known, 1d, 7d"},
			{"2026-06-02", plain, nil, "", all("2026-06-01")},
		}, []string{"on 2026-05-20, but users has 0"}},
		{"an old day has few rows", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-20"}}), nil, "", all("2026-05-30")},
			{"2026-06-01", idle(fakeapi.Unknowns{HalfWritten: []string{"2026-05-20"}}), nil, "", all("2026-05-31")},
		}, []string{`taken as it is" day=2026-05-20 rows=3 active_users=12`}},
		{"a known day loses its rows", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-06-01", idle(fakeapi.Unknowns{Unwritten: []string{"2026-05-29", "2026-05-30"}}), nil, "", all("2026-05-31")},
		}, []string{"2026-05-30"}},
		{"nobody worked on weekends, and they have no rows", []step{
			{"2026-06-01", fakeapi.Unknowns{Without: []string{"2026-05-30", "2026-05-31"}}, nil, "", all("2026-05-29")},
			{"2026-06-02", fakeapi.Unknowns{Without: []string{"2026-05-30", "2026-05-31"}}, nil, "", all("2026-06-01")},
		}, nil},
		{"an outage of a week", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-06-01", plain, fakeapi.Status(503), "503", all("2026-05-30")},
			{"2026-06-07", plain, fakeapi.Status(503), "503", all("2026-05-30")},
			{"2026-06-07", plain, nil, "", all("2026-06-06")},
		}, nil},
		{"the batch stands still for a week", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-06-02", fakeapi.Unknowns{Without: days("2026-06-06", 7)}, nil, "", all("2026-05-30")},
			{"2026-06-03", fakeapi.Unknowns{Without: days("2026-06-06", 7)}, nil, "agree on is 2026-05-30", all("2026-05-30")},
			{"2026-06-07", fakeapi.Unknowns{Without: days("2026-06-06", 7)}, nil, "no day from 2026-05-31 to 2026-06-06 has a row", all("2026-05-30")},
			{"2026-06-07", plain, nil, "", all("2026-06-06")},
		}, nil},
		{"the history is short", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Reach: 28}), nil, "", "2026-05-30, 28 known, 1d, 7d"},
			{"2026-06-01", idle(fakeapi.Unknowns{Reach: 28}), nil, "", "2026-05-31, 29 known, 1d, 7d"},
			{"2026-06-02", idle(fakeapi.Unknowns{Reach: 28}), nil, "", "2026-06-01, 30 known, 1d, 7d, 30d"},
		}, nil},
		{"the history is shorter than a first week", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Reach: 3}), nil, "HTTP 400", "nothing"},
		}, nil},
		{"the analytics have just begun", []step{
			{"2026-01-14", plain, nil, "begin on 2026-01-14", "nothing"},
			{"2026-01-15", plain, nil, "", "2026-01-14, 1 known, 1d"},
			{"2026-01-21", plain, nil, "", "2026-01-20, 7 known, 1d, 7d"},
		}, nil},
		{"the clock is set forward and back", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-06-04", plain, nil, "", all("2026-06-03")},
			{"2026-05-31", plain, nil, "", all("2026-06-03")},
			{"2026-06-05", plain, nil, "", all("2026-06-04")},
		}, nil},
		{"weeks pass without a reading", []step{
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
			{"2026-12-31", plain, nil, "", all("2026-12-30")},
		}, nil},
		{"nothing agrees", []step{
			{"2026-05-31", idle(fakeapi.Unknowns{Unwritten: days("2026-05-30", 7)}), nil, "activity counts 12 active users on 2026-05-30, but users has 0", "nothing"},
			{"2026-05-31", plain, nil, "", all("2026-05-30")},
		}, []string{"2026-05-29"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(12)...)
			for i, step := range tt.steps {
				w.analytics.Choose(step.unknowns)
				if step.fails != nil {
					w.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: step.fails})
				}
				err := w.read(t.Context(), noon(step.at))
				w.api.ClearFaults()
				if text := fmt.Sprint(err); (err == nil) != (step.err == "") || !strings.Contains(text, step.err) {
					t.Errorf("step %d: error %v, want %q", i, err, step.err)
				}
				if got := shown(w.last()); got != step.shown {
					t.Errorf("step %d: %s, want %s", i, got, step.shown)
				}
			}
			w.log.Check(t, tt.lines...)
		})
	}
}

// A failure loses none of the days that were read before it, and the next reading goes on
// from there. What each failure is: on the way back, on a page after the first.
func TestFailureOnTheWayBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve fakeapi.Behavior
		err   string
	}{
		{"500", fakeapi.Status(500), "HTTP 500"},
		{"403", fakeapi.Refuse(403, "insufficient_role"), "Enterprise plan, and a personal API key of a Manager or Owner"},
		{"another day", fakeapi.EditRows(func(row map[string]any) { row["date"] = "2026-05-02" }), "is 2026-05-02, but 2026-05-01 was asked for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(3)...)
			w.source = harness.Client(t, w.api, factoryapi.Config{PageSize: 2})
			w.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Page: 2, Serve: fakeapi.OnDay("2026-05-01", tt.serve)})
			if err := w.read(t.Context(), may31); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one about %q", err, tt.err)
			}
			if got := shown(w.last()); got != "2026-05-30, 29 known, 1d, 7d" {
				t.Error(got)
			}
			w.api.ClearFaults()
			if v, n := w.mustRead(t, may31.Add(time.Hour)); n != 4+61*3 || v.KnownDays != 90 {
				t.Errorf("the next reading: %d requests; %s", n, shown(v))
			}
		})
	}
}

// History ends where the first page of an older day is refused. Any other refusal is a
// failure.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		day   string
		page  int
		err   bool
		shown string
	}{
		{"2026-05-10", 1, false, "2026-05-30, 20 known, 1d, 7d"},
		{"2026-05-10", 2, true, "2026-05-30, 20 known, 1d, 7d"},
		{"2026-05-29", 1, true, "2026-05-30, 1 known, 1d"},
		{"2026-05-29", 2, true, "2026-05-30, 1 known, 1d"},
	} {
		w := newWorld(t, everyDay(3)...)
		w.source = harness.Client(t, w.api, factoryapi.Config{PageSize: 2})
		w.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Page: tt.page, Serve: fakeapi.OnDay(tt.day, fakeapi.Refuse(400, "cursor expired"))})
		if err := w.read(t.Context(), may31); (err != nil) != tt.err || shown(w.last()) != tt.shown {
			t.Errorf("page %d of %s: error %v, %s", tt.page, tt.day, err, shown(w.last()))
		}
	}
}

// Just after midnight, the day before may still be today where the API is.
func TestClockOfTheAPIThatIsBehind(t *testing.T) {
	w := newWorld(t, everyDay(3)...)
	w.analytics.Now = func() time.Time { return w.clock.Add(-time.Minute) }
	for _, step := range []struct {
		after time.Duration // midnight
		day   string
	}{{0, "2026-05-29"}, {time.Hour, "2026-05-30"}} {
		if v, _ := w.mustRead(t, may31.Add(step.after-12*time.Hour)); shown(v) != step.day+", 90 known, 1d, 7d, 30d, 90d" {
			t.Errorf("%s after midnight: %s", step.after, shown(v))
		}
	}
}

// byModel strikes the credits by model.
func byModel(behavior fakeapi.Behavior) fakeapi.Fault {
	return fakeapi.Fault{Path: fakeapi.AnalyticsPath + "tokens", Serve: func(w http.ResponseWriter, r *http.Request, page []byte) {
		if r.URL.Query().Has("group_by") {
			behavior(w, r, page)
		} else {
			fakeapi.PageWith(http.StatusOK)(w, r, page)
		}
	}}
}

// Credits by model and limits are a complement: without them, the rest is shown.
func TestComplements(t *testing.T) {
	limits := fakeapi.Limits{Global: 2_000_000, OfUsers: map[string]int{"a@acme.example": 1_000_000}}
	both := factoryapi.CreditLimits{Global: factoryapi.Number{Value: 2_000_000, Valid: true}, OfUsers: factoryapi.Number{Value: 1, Valid: true}}
	for _, tt := range []struct {
		name   string
		fault  fakeapi.Fault
		models string
		limits factoryapi.CreditLimits
		lines  []string
	}{
		{"no group_by", byModel(fakeapi.Status(400)), "map[]", both, []string{"HTTP 400"}},
		{"too much", byModel(fakeapi.EditRows(func(row map[string]any) { row["billable_tokens"] = 3100 })), "map[]", both,
			[]string{"more credits than the whole organization"}},
		{"rounded", byModel(fakeapi.EditRows(func(row map[string]any) { row["billable_tokens"] = 3003 })), "map[plain:3003]", both, nil},
		{"no limits", fakeapi.Fault{Path: fakeapi.LimitsPath, Serve: fakeapi.Status(403)}, "map[plain:3000]", factoryapi.CreditLimits{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, everyDay(3)...)
			w.analytics.SetLimits(limits)
			w.api.Inject(tt.fault)
			for range 2 {
				v, _ := w.mustRead(t, may31)
				if got := fmt.Sprint(v.CreditsByModel); got != tt.models || v.Limits != tt.limits || v.KnownDays != 90 {
					t.Errorf("models %s, limits %+v, %s; want %s, %+v", got, v.Limits, shown(v), tt.models, tt.limits)
				}
			}
			w.log.Check(t, tt.lines...)
		})
	}
}

// The complements hold nothing back, whatever they ask for.
func TestComplementsThatAreLate(t *testing.T) {
	for name, behavior := range map[string]fakeapi.Behavior{"Retry-After": fakeapi.Status(429, "Retry-After", "3600"), "hang": fakeapi.Hang()} {
		for _, fault := range []fakeapi.Fault{byModel(behavior), {Path: fakeapi.LimitsPath, Serve: behavior}} {
			t.Run(name+" "+fault.Path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(may31))
					w := newWorld(t, everyDay(3)...)
					w.source = harness.Client(t, w.api, factoryapi.Config{MaxRetries: 3, RequestTimeout: 30 * time.Second})
					w.api.Inject(fault)
					ctx, cancel := context.WithTimeout(t.Context(), usage.ReadingTimeout)
					defer cancel()
					if err := w.read(ctx, time.Now()); err != nil || shown(w.last()) != "2026-05-30, 90 known, 1d, 7d, 30d, 90d" {
						t.Errorf("error %v, %s", err, shown(w.last()))
					}
					if took := time.Since(may31); took > time.Minute {
						t.Errorf("the reading took %s", took)
					}
				})
			})
		}
	}
}

// The rows of users that consumed more than the organization are not believed in that.
func TestUsersWhoConsumedMoreThanTheOrganization(t *testing.T) {
	w := newWorld(t, everyDay(3)...)
	w.usersFail("2026-05-29", fakeapi.EditRows(func(row map[string]any) { row["billable_tokens"] = 1100 }))
	v, _ := w.mustRead(t, may31)
	if !v.Windows[0].Priced || v.Windows[1].Priced || did(v, "user_0") != "used 1000, used 7100, used 30100, used 90100" {
		t.Errorf("%+v; %s", v.Windows, did(v, "user_0"))
	}
	w.log.Check(t, `more credits than the whole organization, so credits of users are not shown" day=2026-05-29 users=3300 organization=3000`)
}

// A reading that is stopped says so, and loses nothing.
func TestStop(t *testing.T) {
	w := newWorld(t, everyDay(1)...)
	ctx, cancel := context.WithCancel(t.Context())
	w.clock = may31
	err := w.ledger.Read(ctx, w.source, may31, func(v *usage.View) {
		if v.KnownDays == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, n := w.mustRead(t, may31); n != 4+80+80 {
		t.Errorf("%d requests after it", n)
	}

	ctx, cancel = context.WithCancel(t.Context())
	w.api.Inject(fakeapi.Fault{Path: fakeapi.LimitsPath, Serve: func(http.ResponseWriter, *http.Request, []byte) { cancel() }})
	if err := w.read(ctx, noon("2026-06-01")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	w.api.ClearFaults()
	if _, n := w.mustRead(t, noon("2026-06-01")); n != 4+2 { // the newest day is known already
		t.Errorf("%d requests after a stop between the totals", n)
	}
}

// Whatever the analytics send, what is kept of it is bounded.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members int
		source  harness.Use
		err     string
	}{
		{"users", 150, harness.Use{Rows: 30_000, IDs: 30_000, OfDay: true}, "more than 40000 users"},
		{"rows", 150, harness.Use{Rows: 1 << 30, IDs: 1}, "more than 40000 rows of users on 2026-05-30"},
		{"more in a large organization", 40_000, harness.Use{Rows: 1 << 30, IDs: 1}, "more than 80000 rows"},
		{"days", 150, harness.Use{Rows: 40_000, IDs: 40_000, Credits: 1 << 50}, "more than 9 MiB: shorten the longest --collector.window"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ledger := usage.NewLedger(usage.Config{Windows: []int{90}, Members: func(context.Context) int { return tt.members }})
			for range 2 {
				err := ledger.Read(t.Context(), tt.source, may31, func(*usage.View) {})
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one about %q", err, tt.err)
				}
			}
		})
	}
}

// Users come and go for months, and no more is kept than of the days of the window.
func TestUsersWhoComeAndGo(t *testing.T) {
	ledger := usage.NewLedger(usage.Config{Windows: []int{7}})
	var last *usage.View
	source := harness.Use{Rows: 5000, IDs: 5000, OfDay: true}
	for i := range 12 {
		now := noon("2026-02-10").AddDate(0, 0, i)
		if err := ledger.Read(t.Context(), source, now, func(v *usage.View) { last = v }); err != nil {
			t.Fatal(err)
		}
	}
	if last.Users != 7*5000 || last.Used != 7*5000 {
		t.Errorf("%d users, of whom %d used the product, want those of 7 days", last.Users, last.Used)
	}
}
