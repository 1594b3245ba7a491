package fakeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	// AnalyticsPath is what the paths of the analytics begin with, below the base URL.
	AnalyticsPath = "/api/v1/analytics/"
	// LimitsPath is what the paths of the limits of credits begin with.
	LimitsPath = "/api/v0/organization/usage/limits/"
)

// firstDay is 2026-01-14, where the history of the analytics begins, in seconds since
// 1970 began.
const firstDay = 20467 * 24 * 60 * 60

// Work is what somebody did with the product on one day.
type Work struct {
	Clients                                          []string // such as terminal-ui, web, non-interactive-cli
	Sessions, UserMessages, AssistantMessages        int
	ToolCalls                                        int
	Model                                            string // that consumed the credits
	BillableTokens                                   int
	InputTokens, OutputTokens, CacheRead, CacheWrite int
}

func (w Work) used() bool { return w.Sessions+w.UserMessages+w.AssistantMessages+w.ToolCalls > 0 }

func (w *Work) add(other Work) {
	w.Sessions += other.Sessions
	w.UserMessages += other.UserMessages
	w.AssistantMessages += other.AssistantMessages
	w.ToolCalls += other.ToolCalls
	w.BillableTokens += other.BillableTokens
	w.InputTokens += other.InputTokens
	w.OutputTokens += other.OutputTokens
	w.CacheRead += other.CacheRead
	w.CacheWrite += other.CacheWrite
}

// UserWork is a user of the product: a member, a service account, or one who has left.
type UserWork struct {
	ID    string
	Email string // sent as null when empty
	// On returns the work of the day that begins then, in UTC. It is not ok if there is no
	// row of it.
	On func(day time.Time) (work Work, ok bool)
}

// OnDays is the same work on each of these days, written 2026-01-14.
func OnDays(work Work, days ...string) func(time.Time) (Work, bool) {
	return func(day time.Time) (Work, bool) {
		if !slices.Contains(days, day.Format(time.DateOnly)) {
			return Work{}, false
		}
		return work, true
	}
}

// Unknowns are what the reference of the analytics leaves open, and what a daily batch
// may do wrong. Days are written 2026-01-14.
type Unknowns struct {
	// LastCursor is the next_cursor of the last page, in JSON. Empty leaves it out.
	LastCursor string
	// IdleDays gives days on which nobody worked a row of zeros.
	IdleDays bool
	// Late holds back the row of yesterday, and all that users did on it.
	Late bool
	// Without are days that have no row, and on which users did nothing.
	Without []string
	// Unwritten are days without their rows of users yet. Of those in HalfWritten, one
	// user in four has a row.
	Unwritten, HalfWritten []string
	// Reach is how many days back from yesterday are answered, 0 for all.
	Reach int
}

// Limits are the limits of credits that an organization has set.
type Limits struct {
	Global  int            // of each user who has none of their own; 0 for none
	OfUsers map[string]int // by address
}

// Analytics are the analytics of an organization. They end with yesterday by Now. They are
// safe for concurrent use.
type Analytics struct {
	// Now is the clock, time.Now unless it is set before the analytics are served.
	Now func() time.Time

	guarded
	unknowns Unknowns
	limits   Limits
	workers  []UserWork // by id
	// handedOut has the numbers of the pages at the cursors, which are user ids.
	handedOut map[string]int
}

// NewAnalytics returns the analytics of these workers.
func NewAnalytics(workers ...UserWork) *Analytics {
	a := &Analytics{Now: time.Now, handedOut: map[string]int{}}
	a.Add(workers...)
	return a
}

// Add adds workers, who must not be there yet.
func (a *Analytics) Add(workers ...UserWork) {
	a.locked(func() {
		a.workers = append(a.workers, workers...)
		slices.SortFunc(a.workers, func(a, b UserWork) int { return strings.Compare(a.ID, b.ID) })
	})
}

// Stop lets the worker of an id, who must be there, do nothing any more from the day after
// end.
func (a *Analytics) Stop(id string, end time.Time) {
	a.locked(func() {
		worker := &a.workers[slices.IndexFunc(a.workers, func(w UserWork) bool { return w.ID == id })]
		on := worker.On
		worker.On = func(d time.Time) (Work, bool) {
			if d.After(end) {
				return Work{}, false
			}
			return on(d)
		}
	})
}

// Choose decides what the reference leaves open, for requests from now on.
func (a *Analytics) Choose(u Unknowns) { a.locked(func() { a.unknowns = u }) }

func (a *Analytics) SetLimits(l Limits) { a.locked(func() { a.limits = l }) }

// page returns the answer of an endpoint. Its error is errNoEndpoint or the detail of a
// 400.
func (a *Analytics) page(path string, query url.Values) (p page, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p = page{number: 1, last: true}
	if path == LimitsPath+"users" {
		p.body = marshal(a.limitsOfUsers())
		return p, nil
	}
	r, err := a.request(query)
	if err != nil {
		return p, err
	}
	rows := rows{[]any{}, map[string]any{"org_id": "org_01", "start_date": r.first.Format(time.DateOnly), "end_date": r.last.Format(time.DateOnly)}}
	switch path {
	case AnalyticsPath + "activity":
		a.activity(r, &rows)
	case AnalyticsPath + "tokens":
		err = a.tokens(r, query.Get("group_by"), &rows)
	case AnalyticsPath + "users":
		p = a.users(r, &rows)
	default:
		err = errNoEndpoint
	}
	p.body = marshal(rows)
	return p, err
}

// rows are the answer of an endpoint of the analytics.
type rows struct {
	Data []any          `json:"data"`
	Meta map[string]any `json:"meta"`
}

func (a *Analytics) limitsOfUsers() any {
	answer := map[string]any{"globalLimit": nil}
	if a.limits.Global > 0 {
		answer["globalLimit"] = a.limits.Global
	}
	limits := []any{}
	for _, email := range slices.Sorted(maps.Keys(a.limits.OfUsers)) {
		limits = append(limits, map[string]any{"email": email, "limit": a.limits.OfUsers[email]})
	}
	answer["userLimits"] = limits
	return answer
}

type request struct {
	first, last time.Time // the range of days
	limit       int
	cursor      string
}

func (a *Analytics) request(query url.Values) (*request, error) {
	r := &request{cursor: query.Get("cursor")}
	var err error
	for name, day := range map[string]*time.Time{"startDate": &r.first, "endDate": &r.last} {
		if *day, err = time.Parse(time.DateOnly, query.Get(name)); err != nil {
			return nil, fmt.Errorf("%s: %q is not a date like 2026-01-14", name, query.Get(name))
		}
	}
	switch {
	case r.first.After(r.last):
		return nil, errors.New("startDate is after endDate")
	case r.first.Unix() < firstDay:
		return nil, errors.New("startDate: there is no data before 2026-01-14")
	case r.last.After(a.yesterday()):
		return nil, errors.New("Cannot query today's date - analytics data has a 24-hour lag") //nolint:staticcheck // these are the words of the API
	case a.unknowns.Reach > 0 && a.yesterday().Sub(r.first) >= time.Duration(a.unknowns.Reach)*day:
		return nil, fmt.Errorf("startDate: data are kept for %d days", a.unknowns.Reach)
	}
	r.limit, err = limitOf(query)
	return r, err
}

const day = 24 * time.Hour

func (a *Analytics) yesterday() time.Time {
	return a.Now().UTC().Truncate(day).Add(-day)
}

// on returns what the analytics tell by now of a worker's day.
func (a *Analytics) on(w *UserWork, d time.Time) (Work, bool) {
	if a.isMissing(d) || d.Unix() < firstDay {
		return Work{}, false
	}
	return w.On(d)
}

func (a *Analytics) isMissing(d time.Time) bool {
	return a.unknowns.Late && d.Equal(a.yesterday()) || isOneOf(d, a.unknowns.Without)
}

func isOneOf(d time.Time, days []string) bool {
	return len(days) > 0 && slices.Contains(days, d.Format(time.DateOnly))
}

// days yields each day of a range that has a row in activity and tokens, and all work on
// it by model.
func (a *Analytics) days(r *request, yield func(d time.Time, byModel map[string]Work)) {
	for d := r.first; !d.After(r.last); d = d.Add(day) {
		byModel := map[string]Work{}
		worked := false
		for i := range a.workers {
			if work, ok := a.on(&a.workers[i], d); ok {
				sum := byModel[work.Model]
				sum.add(work)
				byModel[work.Model] = sum
				worked = worked || work.used()
			}
		}
		if !a.isMissing(d) && (worked || a.unknowns.IdleDays) {
			yield(d, byModel)
		}
	}
}

func total(byModel map[string]Work) (sum Work) {
	for _, work := range byModel {
		sum.add(work)
	}
	return sum
}

func (a *Analytics) activity(r *request, rows *rows) {
	a.days(r, func(d time.Time, byModel map[string]Work) {
		sum := total(byModel)
		daily, byClient := a.active(d, 1)
		weekly, _ := a.active(d, 7)
		monthly, _ := a.active(d, 30)
		rows.Data = append(rows.Data, map[string]any{
			"date":               d.Format(time.DateOnly),
			"daily_active_users": daily, "weekly_active_users": weekly, "monthly_active_users": monthly,
			"daily_active_users_by_client": byClient,
			"sessions":                     sum.Sessions, "messages": sum.UserMessages + sum.AssistantMessages, "user_messages": sum.UserMessages,
		})
	})
}

// active counts the workers who used the product in the days that end with d.
func (a *Analytics) active(d time.Time, days int) (users int, byClient map[string]int) {
	byClient = map[string]int{}
	for i := range a.workers {
		for back := range days {
			if work, _ := a.on(&a.workers[i], d.Add(-time.Duration(back)*day)); work.used() {
				users++
				for _, client := range work.Clients {
					byClient[client]++
				}
				break
			}
		}
	}
	return users, byClient
}

func (a *Analytics) tokens(r *request, groupBy string, rows *rows) error {
	if groupBy != "" && groupBy != "model" {
		return fmt.Errorf("group_by: %q is unknown", groupBy)
	}
	a.days(r, func(d time.Time, byModel map[string]Work) {
		row := func(w Work) map[string]any {
			row := map[string]any{"date": d.Format(time.DateOnly), "billable_tokens": w.BillableTokens, "input_tokens": w.InputTokens, "output_tokens": w.OutputTokens}
			rows.Data = append(rows.Data, row)
			return row
		}
		if groupBy == "" {
			sum := total(byModel)
			maps.Copy(row(sum), map[string]any{"cache_read_tokens": sum.CacheRead, "cache_write_tokens": sum.CacheWrite, "by_model": []any{}, "by_user": []any{}})
			return
		}
		delete(byModel, "")
		for _, model := range slices.Sorted(maps.Keys(byModel)) {
			row(byModel[model])["group_key"] = model
		}
	})
	return nil
}

// users adds the rows of a page, which has so many users. The cursor is the id of the last
// one.
func (a *Analytics) users(r *request, rows *rows) page {
	p := page{number: max(1, a.handedOut[r.position(r.cursor)]), last: true}
	users, next := 0, ""
	first := sort.Search(len(a.workers), func(i int) bool { return a.workers[i].ID > r.cursor })
	for i := first; i < len(a.workers); i++ {
		of := a.rowsOf(&a.workers[i], i, r)
		if len(of) == 0 {
			continue
		}
		if users == r.limit {
			p.last = false
			break
		}
		rows.Data = append(rows.Data, of...)
		users++
		next = a.workers[i].ID
	}
	rows.Meta["has_more"] = !p.last
	if !p.last {
		a.handedOut[r.position(next)] = p.number + 1
		rows.Meta["next_cursor"] = next
	} else if a.unknowns.LastCursor != "" {
		rows.Meta["next_cursor"] = json.RawMessage(a.unknowns.LastCursor)
	}
	return p
}

// position names the page at a cursor, which is the same in the answers of other ranges.
func (r *request) position(cursor string) string {
	return fmt.Sprint(r.first.Unix(), r.last.Unix(), r.limit, cursor)
}

func (a *Analytics) rowsOf(w *UserWork, number int, r *request) (rows []any) {
	for d := r.first; !d.After(r.last); d = d.Add(day) {
		work, ok := a.on(w, d)
		if ok && !isOneOf(d, a.unknowns.Unwritten) && (number%4 == 0 || !isOneOf(d, a.unknowns.HalfWritten)) {
			rows = append(rows, w.row(d, work))
		}
	}
	return rows
}

func (w *UserWork) row(d time.Time, work Work) any {
	var email *string
	if w.Email != "" {
		email = &w.Email
	}
	return struct {
		UserID            string   `json:"user_id"`
		UserEmail         *string  `json:"user_email"`
		Date              string   `json:"date"`
		Sessions          int      `json:"sessions"`
		Messages          int      `json:"messages"`
		UserMessages      int      `json:"user_messages"`
		AssistantMessages int      `json:"assistant_messages"`
		ToolCalls         int      `json:"tool_calls"`
		BillableTokens    int      `json:"billable_tokens"`
		FilesCreated      int      `json:"files_created"`
		FilesEdited       int      `json:"files_edited"`
		GitCommits        int      `json:"git_commits"`
		GitPRsCreated     int      `json:"git_prs_created"`
		MCPCalls          int      `json:"mcp_calls"`
		SkillCalls        int      `json:"skill_calls"`
		SlashCommands     int      `json:"slash_commands"`
		Hooks             int      `json:"hooks"`
		AutonomyRatio     int      `json:"autonomy_ratio"`
		PrimaryModel      string   `json:"primary_model"`
		PrimaryModelTier  string   `json:"primary_model_tier"`
		DelegationLevel   string   `json:"delegation_level"`
		Languages         []string `json:"languages"`
	}{
		w.ID, email, d.Format(time.DateOnly),
		work.Sessions, work.UserMessages + work.AssistantMessages, work.UserMessages, work.AssistantMessages, work.ToolCalls, work.BillableTokens,
		work.ToolCalls / 20, work.ToolCalls / 5, work.ToolCalls / 30, work.ToolCalls / 90, work.ToolCalls / 10, work.ToolCalls / 50, work.UserMessages / 10, 0,
		work.AssistantMessages / max(1, work.UserMessages), work.Model, "standard", "medium", []string{"go", "typescript"},
	}
}

// OnDay spoils the answers for one single day of the analytics, written 2026-01-14. It
// sends the others as they are.
func OnDay(day string, then Behavior) Behavior {
	return func(w http.ResponseWriter, r *http.Request, page []byte) {
		if query := r.URL.Query(); query.Get("startDate") != day || query.Get("endDate") != day {
			send(w, http.StatusOK, page)
			return
		}
		then(w, r, page)
	}
}
