// Package usage tells who used the product.
package usage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"time"

	"factory_exporter/factoryapi"
)

const day = 24 * time.Hour

// Analytics tell who used the product. [factoryapi.Client] does.
type Analytics interface {
	Activity(context.Context, factoryapi.Days) ([]factoryapi.Activity, error)
	Tokens(context.Context, factoryapi.Days) ([]factoryapi.Tokens, error)
	Usage(context.Context, factoryapi.Days) iter.Seq2[[]factoryapi.Usage, error]
}

// View is what the analytics told in one reading: the numbers of a day, and who used
// the product in the windows that end with it. It does not change.
type View struct {
	activity factoryapi.Activity
	tokens   factoryapi.Tokens
	seed     maphash.Seed
	windows  []*windowUsage // in the order of the windows; nil: not known
}

// Day returns the day that the numbers are of.
func (u *View) Day() factoryapi.Day { return u.activity.Day }

// Covers reports whether it is known who used the product in the window of this index.
// That needs a window of whole days that does not begin before the analytics do. There
// may be no u, which covers nothing.
func (u *View) Covers(window int) bool { return u != nil && u.windows[window] != nil }

// LastUsed returns the newest day in the longest window of the reading on which a user
// used the product, zero if there is none.
func (u *View) LastUsed(id string) (newest factoryapi.Day) {
	fingerprint := u.fingerprint(id)
	for _, w := range u.windows {
		if w != nil {
			newest = max(newest, w.users[fingerprint].last)
		}
	}
	return newest
}

func (u *View) fingerprint(id string) uint64 { return maphash.String(u.seed, id) }

// Of returns the use of a user. There may be no u.
func (u *View) Of(id string) User {
	if u == nil {
		return User{}
	}
	return User{u, u.fingerprint(id)}
}

// Begin returns when the first day of a window begins that u covers.
func (u *View) Begin(window int) time.Time { return u.windows[window].days.First.Start() }

// Activity returns the activity of the day.
func (u *View) Activity() *factoryapi.Activity { return &u.activity }

// Tokens returns the tokens of the day.
func (u *View) Tokens() *factoryapi.Tokens { return &u.tokens }

// User is what is known of one user.
type User struct {
	view        *View
	fingerprint uint64
}

// Use says whether a user used the product.
type Use struct{ Used, Unclear bool }

// In returns the use in a window that the view covers.
func (u User) In(window int) Use {
	use := u.view.windows[window].users[u.fingerprint]
	return Use{use.used, use.unclear}
}

// windowUsage is who has rows in a range of days. It keeps a fingerprint of 64 bits of
// each user's id, as a Roster does.
type windowUsage struct {
	days  factoryapi.Days
	users map[uint64]use
}

// use is what the rows of one user tell. The zero value is that of a user without rows,
// who did not use the product.
type use struct {
	used    bool
	unclear bool // a number is missing that might tell of use
	last    factoryapi.Day
}

// add adds a row. A session, a message or a tool call is use of the product.
func (w *windowUsage) add(fingerprint uint64, row *factoryapi.Usage) {
	u := w.users[fingerprint]
	used, unclear := false, false
	for _, number := range [...]factoryapi.Number{row.Sessions, row.Messages, row.ToolCalls} {
		used = used || number.Value > 0
		unclear = unclear || !number.Valid
	}
	switch {
	case used:
		u.used, u.last = true, max(u.last, row.Day)
	case unclear:
		u.unclear = true
	default:
		return
	}
	w.users[fingerprint] = u
}

// Read reads the analytics for these windows: all that is needed, or an error. It
// returns newest, an earlier reading, if there is no newer day.
func Read(ctx context.Context, analytics Analytics, windows []time.Duration, newest *View) (*View, error) {
	u := &View{seed: maphash.MakeSeed(), windows: make([]*windowUsage, len(windows))}
	err := u.readDay(ctx, analytics, factoryapi.DayOf(time.Now())-1)
	if err == nil && newest != nil && newest.Day() == u.Day() {
		return newest, nil
	}
	if err == nil {
		err = u.readWindows(ctx, analytics, windows)
	}
	if failure, ok := errors.AsType[*factoryapi.Error](err); ok && failure.StatusCode == 403 {
		err = fmt.Errorf("%w (the analytics need an Enterprise plan, and a personal API key of a Manager or Owner)", err)
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

// readWindows reads who used the product in each window.
func (u *View) readWindows(ctx context.Context, analytics Analytics, windows []time.Duration) error {
	read := map[factoryapi.Days]*windowUsage{} // windows of the same days are read once
	for i, window := range windows {
		days := factoryapi.DaysThrough(u.Day(), int(window/day))
		if window%day != 0 || days.First < factoryapi.FirstDay {
			continue
		}
		if read[days] == nil {
			w := &windowUsage{days: days, users: map[uint64]use{}}
			if err := u.readUsers(ctx, analytics, w, days); err != nil {
				return err
			}
			read[days] = w
		}
		u.windows[i] = read[days]
	}
	return nil
}

// readDay reads the newest day that has a row in both activity and tokens.
func (u *View) readDay(ctx context.Context, analytics Analytics, yesterday factoryapi.Day) error {
	const lookBack = 7
	days := factoryapi.DaysThrough(yesterday, lookBack)
	days.First = max(days.First, factoryapi.FirstDay)
	if days.Len() < 1 {
		return fmt.Errorf("the analytics begin on %s", factoryapi.FirstDay)
	}
	activity, err := analytics.Activity(ctx, days)
	if err != nil {
		return fmt.Errorf("read activity: %w", err)
	}
	tokens, err := analytics.Tokens(ctx, days)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	for _, a := range activity {
		for _, t := range tokens {
			if a.Day == t.Day && days.Contain(a.Day) && a.Day > u.Day() {
				u.activity, u.tokens = a, t
			}
		}
	}
	if u.Day() == 0 {
		return fmt.Errorf("no day from %s has a row in both activity and tokens", days)
	}
	return nil
}

// readUsers adds the rows of a range of days to w. It asks for the halves of a range
// that is refused, because it may be longer than the API allows, which is not
// documented.
func (u *View) readUsers(ctx context.Context, analytics Analytics, w *windowUsage, days factoryapi.Days) error {
	for rows, err := range analytics.Usage(ctx, days) {
		if failure, ok := errors.AsType[*factoryapi.Error](err); ok && failure.StatusCode == 400 && days.Len() > 1 {
			middle := days.First + factoryapi.Day(days.Len()/2)
			if err := u.readUsers(ctx, analytics, w, factoryapi.Days{First: days.First, Last: middle - 1}); err != nil {
				return err
			}
			return u.readUsers(ctx, analytics, w, factoryapi.Days{First: middle, Last: days.Last})
		}
		if err != nil {
			return fmt.Errorf("read users: %w", err)
		}
		for i := range rows {
			w.add(u.fingerprint(rows[i].UserID), &rows[i])
		}
	}
	return nil
}
