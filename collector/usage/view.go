package usage

import (
	"hash/maphash"
	"slices"

	"factory_exporter/factoryapi"
)

// View is what a [Ledger] knew at one moment. It does not change.
type View struct {
	// Day is the newest day that is known. Activity, Tokens, CreditsByModel and Limits
	// are of it.
	Day            factoryapi.Day
	Activity       factoryapi.Activity
	Tokens         factoryapi.Tokens
	CreditsByModel map[string]float64 // nil if it is not known
	Limits         factoryapi.CreditLimits
	// KnownDays is how many days in a row are known, back from Day.
	KnownDays int
	// Windows are in the order of Config.Windows.
	Windows []Window
	// Users is how many users have a row on any known day, and Used how many of them used
	// the product within the longest window that is covered.
	Users, Used int

	seed    maphash.Seed
	numbers map[uint64]uint32 // of the users, by fingerprint
	last    []int32           // by number: the newest day of use
}

// Window is what is known of a range of days that ends with View.Day. It is zero if some
// of the days are not known.
type Window struct {
	// First is the first day of the window.
	First factoryapi.Day
	// ActiveDays is on how many days anybody used the product.
	ActiveDays int
	// Priced says that the credits of all users are known on each of the days.
	Priced bool

	use     []use // by the number of a user
	credits []uint64
}

// Covers reports whether all days of the window of an index are known. There may be no v,
// which covers nothing.
func (v *View) Covers(window int) bool { return v != nil && v.Windows[window].First != 0 }

// SameLedger reports whether another view is of the same [Ledger]. There may be no other.
func (v *View) SameLedger(other *View) bool { return other != nil && v.seed == other.seed }

// Longest returns the index of the longest window that is covered, and -1 if none is.
func (v *View) Longest() int {
	longest := -1
	for i, window := range v.Windows {
		if v.Covers(i) && (longest < 0 || window.First < v.Windows[longest].First) {
			longest = i
		}
	}
	return longest
}

// User is what a [View] tells of one user. The zero value is a user without a row.
type User struct {
	view   *View
	number uint32
}

// Of returns what is known of the user of an id. There may be no v.
func (v *View) Of(id string) User {
	if v == nil {
		return User{}
	}
	if number, ok := v.numbers[maphash.String(v.seed, id)]; ok {
		return User{v, number}
	}
	return User{}
}

// Known reports whether the user has a row on any known day.
func (u User) Known() bool { return u.view != nil }

// LastUsed returns the newest known day on which the user used the product, zero if there
// is none.
func (u User) LastUsed() factoryapi.Day {
	if u.view == nil {
		return 0
	}
	return factoryapi.Day(u.view.last[u.number])
}

// Use is what a user did within a window. It is zero if the window is not covered.
type Use struct {
	// Used says that the user used the product. Unclear says that it cannot be told:
	// numbers are missing, and none is above zero.
	Used, Unclear bool
	// Credits are Factory Standard Credits.
	Credits uint64
}

// In returns what the user did within the window of an index.
func (u User) In(window int) Use {
	if !u.view.Covers(window) {
		return Use{}
	}
	sums := &u.view.Windows[window]
	use := sums.use[u.number]
	return Use{Used: use&used != 0, Unclear: use == unclear, Credits: sums.credits[u.number]}
}

// view returns what is known now. It shares the sums of an earlier view of the same reading
// while that covers as many windows; there may be none.
func (l *Ledger) view(earlier *View) *View {
	v := *l.shown
	for l.days[v.Day-factoryapi.Day(v.KnownDays)] != nil {
		v.KnownDays++
	}
	if earlier != nil && !slices.ContainsFunc(l.cfg.Windows, func(days int) bool { return earlier.KnownDays < days && days <= v.KnownDays }) {
		shared := *earlier
		shared.KnownDays = v.KnownDays
		return &shared
	}
	size := len(l.users) + len(l.free)
	v.Users, v.Windows = len(l.users), make([]Window, len(l.cfg.Windows))
	v.seed, v.numbers, v.last = l.seed, l.users, make([]int32, size)
	l.shared = true
	for day, r := range l.days {
		for e := range r.all() {
			if e.use&used != 0 {
				v.last[e.user] = max(v.last[e.user], int32(day))
			}
		}
	}
	for i, days := range l.cfg.Windows {
		if days == 0 || days > v.KnownDays {
			continue
		}
		w := Window{First: v.Day - factoryapi.Day(days) + 1, Priced: true, use: make([]use, size), credits: make([]uint64, size)}
		for day := w.First; day <= v.Day; day++ {
			r := l.days[day]
			w.Priced = w.Priced && r.priced
			if r.used {
				w.ActiveDays++
			}
			for e := range r.all() {
				w.use[e.user] |= e.use
				w.credits[e.user] += e.credits
			}
		}
		v.Windows[i] = w
	}
	if longest := v.Longest(); longest >= 0 {
		for _, use := range v.Windows[longest].use {
			if use&used != 0 {
				v.Used++
			}
		}
	}
	return &v
}
