package fakeapi

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AnalyticsPath is what the paths of the analytics begin with, below the base URL.
const AnalyticsPath = "/api/v1/analytics/"

// firstDay is 2026-01-14, where the history of the analytics begins, in seconds since
// 1970 began.
const firstDay = 20467 * 24 * 60 * 60

// Work is what somebody did with the product on one day.
type Work struct {
	Clients                                          []string // such as terminal-ui, web, non-interactive-cli
	Sessions, UserMessages, AssistantMessages        int
	ToolCalls                                        int
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

// Worker is somebody whose work the analytics know: a member, or one who has left.
type Worker struct {
	ID    string
	Email string // sent as null when empty
	// On returns the work of a day, which is given as its beginning in UTC. It is not
	// ok if the analytics have no row for the worker and the day.
	On func(day time.Time) (work Work, ok bool)
}

// OnDays is the work of a [Worker] who did the same on each of these days, written
// 2026-01-14.
func OnDays(work Work, days ...string) func(time.Time) (Work, bool) {
	return func(day time.Time) (Work, bool) {
		if !slices.Contains(days, day.Format(time.DateOnly)) {
			return Work{}, false
		}
		return work, true
	}
}

// RowForm is what a row of the endpoint users is, and what its pages are made of.
type RowForm int

const (
	// RowPerUser: a row has the sums of the whole range, and the newest day with work
	// as its date. The cursor is a user id.
	RowPerUser RowForm = iota
	// RowPerUserAndDay: the limit counts rows. The cursor has more than a user id.
	RowPerUserAndDay
	// UserWithRowPerDay: a row is of a user and a day, but the limit counts users, each
	// with all rows. The cursor is a user id.
	UserWithRowPerDay
)

// Unknowns are what the reference of the analytics leaves open. Tests choose.
type Unknowns struct {
	Rows RowForm
	// LastCursor is the next_cursor of the last page, in JSON. Empty leaves it out.
	LastCursor string
	// IdleDays gives days on which nobody worked a row of zeros.
	IdleDays bool
	// Late holds back the row of yesterday, and all that users did on it.
	Late bool
	// Without names days that have no row, written 2026-01-14.
	Without []string
	// Null names the fields that are sent as null in every row.
	Null []string
	// MaxDays is the longest range that is answered, 0 for any.
	MaxDays int
}

// Analytics are the analytics of an organization. They end with yesterday by Now. The
// zero value is of an organization that never worked. It is safe for concurrent use.
type Analytics struct {
	// Now is the clock, time.Now if nil. It is set before the analytics are served.
	Now func() time.Time

	mu       sync.Mutex
	unknowns Unknowns
	workers  []Worker // by id
	// handedOut has the numbers of the pages at the cursors that were handed out, which
	// are user ids and do not tell.
	handedOut map[string]int
}

// NewAnalytics returns the analytics of these workers.
func NewAnalytics(workers ...Worker) *Analytics {
	a := new(Analytics)
	a.Add(workers...)
	return a
}

// Add adds workers, who must not be there yet.
func (a *Analytics) Add(workers ...Worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.workers = append(a.workers, workers...)
	slices.SortFunc(a.workers, func(a, b Worker) int { return strings.Compare(a.ID, b.ID) })
}

// Choose decides what the reference leaves open, for requests from now on.
func (a *Analytics) Choose(u Unknowns) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unknowns = u
}

// page appends to b the answer of an endpoint. Its error is the detail of a 400. It is
// not ok if there is no such endpoint.
func (a *Analytics) page(b []byte, endpoint string, query url.Values) (p page, ok bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	render := map[string]func([]byte, *request) (page, error){
		"activity": a.activity,
		"tokens":   a.tokens,
		"users":    a.users,
	}[endpoint]
	if render == nil {
		return page{}, false, nil
	}
	r, err := a.request(query)
	if err != nil {
		return page{}, true, err
	}
	p, err = render(b, r)
	return p, true, err
}

// request is the query of one request, read.
type request struct {
	first, last time.Time // the range of days
	limit       int
	cursor      string
}

func (a *Analytics) request(query url.Values) (*request, error) {
	r := &request{limit: defaultLimit, cursor: query.Get("cursor")}
	for _, end := range []struct {
		name string
		day  *time.Time
	}{{"startDate", &r.first}, {"endDate", &r.last}} {
		day, err := time.Parse(time.DateOnly, query.Get(end.name))
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a date like 2026-01-14", end.name, query.Get(end.name))
		}
		*end.day = day
	}
	switch {
	case r.first.After(r.last):
		return nil, errors.New("startDate is after endDate")
	case r.first.Unix() < firstDay:
		return nil, errors.New("startDate: there is no data before 2026-01-14")
	case r.last.After(a.yesterday()):
		return nil, errors.New("endDate: there is no data after yesterday")
	case a.unknowns.MaxDays > 0 && r.last.Sub(r.first) >= time.Duration(a.unknowns.MaxDays)*day:
		return nil, fmt.Errorf("startDate: the range is longer than %d days", a.unknowns.MaxDays)
	}
	if text := query.Get("limit"); query.Has("limit") {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < minLimit || limit > maxLimit {
			return nil, fmt.Errorf("limit: %q is not a number from %d to %d", text, minLimit, maxLimit)
		}
		r.limit = limit
	}
	return r, nil
}

const day = 24 * time.Hour

func (a *Analytics) yesterday() time.Time {
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	return now().UTC().Truncate(day).Add(-day)
}

// on returns what a worker did on a day, as far as the analytics tell it by now.
func (a *Analytics) on(w *Worker, d time.Time) (Work, bool) {
	if a.isMissing(d) || d.Unix() < firstDay {
		return Work{}, false
	}
	return w.On(d)
}

func (a *Analytics) isMissing(d time.Time) bool {
	return a.unknowns.Late && d.Equal(a.yesterday()) || slices.Contains(a.unknowns.Without, d.Format(time.DateOnly))
}

// days calls row with each day of the range that has a row in activity and tokens.
func (a *Analytics) days(b []byte, r *request, row func(b []byte, d time.Time, sum Work) []byte) page {
	b = append(b, `{"data":[`...)
	comma := false
	for d := r.first; !d.After(r.last); d = d.Add(day) {
		var sum Work
		worked := false
		for i := range a.workers {
			if work, ok := a.on(&a.workers[i], d); ok {
				sum.add(work)
				worked = worked || work.used()
			}
		}
		if a.isMissing(d) || !worked && !a.unknowns.IdleDays {
			continue
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = row(b, d, sum)
	}
	b = append(b, `],"meta":{`...)
	b = append(appendMeta(b, r), `}}`...)
	return page{number: 1, last: true, body: b}
}

func appendMeta(b []byte, r *request) []byte {
	return fmt.Appendf(b, `"org_id":"org_01","start_date":"%s","end_date":"%s"`, r.first.Format(time.DateOnly), r.last.Format(time.DateOnly))
}

func (a *Analytics) activity(b []byte, r *request) (page, error) {
	return a.days(b, r, func(b []byte, d time.Time, sum Work) []byte {
		daily, byClient := a.active(d, 1)
		weekly, _ := a.active(d, 7)
		monthly, _ := a.active(d, 30)
		b = appendField(b, '{', "date", d.Format(time.DateOnly))
		b = a.appendNumber(b, "daily_active_users", daily)
		b = a.appendNumber(b, "weekly_active_users", weekly)
		b = a.appendNumber(b, "monthly_active_users", monthly)
		b = append(b, `,"daily_active_users_by_client":{`...)
		clients := make([]string, 0, len(byClient))
		for client := range byClient {
			clients = append(clients, client)
		}
		slices.Sort(clients)
		for i, client := range clients {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, client), ':')
			b = strconv.AppendInt(b, int64(byClient[client]), 10)
		}
		b = append(b, '}')
		b = a.appendNumber(b, "sessions", sum.Sessions)
		b = a.appendNumber(b, "messages", sum.UserMessages+sum.AssistantMessages)
		b = a.appendNumber(b, "user_messages", sum.UserMessages)
		return append(b, '}')
	}), nil
}

// active counts the workers who used the product in the days that end with d.
func (a *Analytics) active(d time.Time, days int) (users int, byClient map[string]int) {
	byClient = map[string]int{}
	for i := range a.workers {
		for back := range days {
			work, _ := a.on(&a.workers[i], d.Add(-time.Duration(back)*day))
			if !work.used() {
				continue
			}
			users++
			for _, client := range work.Clients {
				byClient[client]++
			}
			break
		}
	}
	return users, byClient
}

func (a *Analytics) tokens(b []byte, r *request) (page, error) {
	return a.days(b, r, func(b []byte, d time.Time, sum Work) []byte {
		b = appendField(b, '{', "date", d.Format(time.DateOnly))
		b = a.appendNumber(b, "billable_tokens", sum.BillableTokens)
		b = a.appendNumber(b, "input_tokens", sum.InputTokens)
		b = a.appendNumber(b, "output_tokens", sum.OutputTokens)
		b = a.appendNumber(b, "cache_read_tokens", sum.CacheRead)
		b = a.appendNumber(b, "cache_write_tokens", sum.CacheWrite)
		return append(b, `,"by_model":[],"by_user":[]}`...)
	}), nil
}

// users renders a page of rows, by user and then by day.
func (a *Analytics) users(b []byte, r *request) (page, error) {
	if a.unknowns.Rows == RowPerUserAndDay {
		return a.pageOfRows(b, r)
	}
	p := page{number: max(1, a.handedOut[r.position(r.cursor)]), last: true}
	b = append(b, `{"data":[`...)
	users, next := 0, ""
	first := sort.Search(len(a.workers), func(i int) bool { return a.workers[i].ID > r.cursor })
	for i := range a.workers[first:] {
		w := &a.workers[first+i]
		if users == r.limit {
			if a.hasRow(w, r) {
				p.last = false
				break
			}
			continue
		}
		begin := len(b)
		if b = a.appendRows(b, w, r, users > 0); len(b) > begin {
			users++
			next = w.ID
		}
	}
	if !p.last {
		if a.handedOut == nil {
			a.handedOut = map[string]int{}
		}
		a.handedOut[r.position(next)] = p.number + 1
	}
	p.body = a.appendEnd(b, r, p.last, next)
	return p, nil
}

// position names the page at a cursor, which is the same in the answers of other ranges.
func (r *request) position(cursor string) string {
	return fmt.Sprint(r.first.Unix(), r.last.Unix(), r.limit, cursor)
}

func (a *Analytics) hasRow(w *Worker, r *request) bool {
	for d := r.last; !d.Before(r.first); d = d.Add(-day) {
		if _, ok := a.on(w, d); ok {
			return true
		}
	}
	return false
}

// appendRows appends the rows of a worker in the range.
func (a *Analytics) appendRows(b []byte, w *Worker, r *request, comma bool) []byte {
	var sum Work
	var newest time.Time
	found := false
	for d := r.first; !d.After(r.last); d = d.Add(day) {
		work, ok := a.on(w, d)
		if !ok {
			continue
		}
		if a.unknowns.Rows != RowPerUser {
			b = a.appendRow(b, w, d, work, comma || found)
		}
		sum.add(work)
		if !found || work.used() {
			newest = d
		}
		found = true
	}
	if found && a.unknowns.Rows == RowPerUser {
		b = a.appendRow(b, w, newest, sum, comma)
	}
	return b
}

// rowCursor is the position of a page of rows of a user and a day.
const rowCursor = "%s %s %d"

// pageOfRows is a page whose limit counts rows of a user and a day.
func (a *Analytics) pageOfRows(b []byte, r *request) (page, error) {
	p := page{number: 1, last: true}
	id, after := "", r.first.Add(-day)
	if r.cursor != "" {
		var date string
		if _, err := fmt.Sscanf(r.cursor, rowCursor, &id, &date, &p.number); err != nil {
			return page{}, fmt.Errorf("cursor: %q is unknown", r.cursor)
		}
		after, _ = time.Parse(time.DateOnly, date)
	}
	b = append(b, `{"data":[`...)
	rows, next := 0, ""
	first := sort.Search(len(a.workers), func(i int) bool { return a.workers[i].ID >= id })
users:
	for i := first; i < len(a.workers); i++ {
		w := &a.workers[i]
		for d := r.first; !d.After(r.last); d = d.Add(day) {
			if w.ID == id && !d.After(after) {
				continue
			}
			work, ok := a.on(w, d)
			if !ok {
				continue
			}
			if rows == r.limit {
				p.last = false
				break users
			}
			b = a.appendRow(b, w, d, work, rows > 0)
			rows++
			next = fmt.Sprintf(rowCursor, w.ID, d.Format(time.DateOnly), p.number+1)
		}
	}
	p.body = a.appendEnd(b, r, p.last, next)
	return p, nil
}

func (a *Analytics) appendEnd(b []byte, r *request, last bool, next string) []byte {
	b = append(b, `],"meta":{`...)
	b = appendMeta(b, r)
	b = fmt.Appendf(b, `,"has_more":%t`, !last)
	switch {
	case !last:
		b = appendField(b, ',', "next_cursor", next)
	case a.unknowns.LastCursor != "":
		b = append(append(b, `,"next_cursor":`...), a.unknowns.LastCursor...)
	}
	return append(b, `}}`...)
}

func (a *Analytics) appendRow(b []byte, w *Worker, d time.Time, work Work, comma bool) []byte {
	if comma {
		b = append(b, ',')
	}
	b = appendField(b, '{', "user_id", w.ID)
	if w.Email == "" {
		b = append(b, `,"user_email":null`...)
	} else {
		b = appendField(b, ',', "user_email", w.Email)
	}
	b = appendField(b, ',', "date", d.Format(time.DateOnly))
	for _, number := range [...]struct {
		name  string
		value int
	}{
		{"sessions", work.Sessions},
		{"messages", work.UserMessages + work.AssistantMessages},
		{"user_messages", work.UserMessages},
		{"assistant_messages", work.AssistantMessages},
		{"tool_calls", work.ToolCalls},
		{"billable_tokens", work.BillableTokens},
		{"files_created", work.ToolCalls / 20},
		{"files_edited", work.ToolCalls / 5},
		{"git_commits", work.ToolCalls / 30},
		{"git_prs_created", work.ToolCalls / 90},
		{"mcp_calls", work.ToolCalls / 10},
		{"skill_calls", work.ToolCalls / 50},
		{"slash_commands", work.UserMessages / 10},
		{"hooks", 0},
		{"autonomy_ratio", work.AssistantMessages / max(1, work.UserMessages)},
	} {
		b = a.appendNumber(b, number.name, number.value)
	}
	return append(b, `,"primary_model":"droid-core","primary_model_tier":"standard","delegation_level":"medium","languages":["go","typescript"]}`...)
}

func (a *Analytics) appendNumber(b []byte, name string, value int) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":`...)
	if slices.Contains(a.unknowns.Null, name) {
		return append(b, `null`...)
	}
	return strconv.AppendInt(b, int64(value), 10)
}
