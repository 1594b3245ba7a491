package usage

import (
	"hash/maphash"
	"maps"

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

	*userSums
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
}

// Covers reports whether all days of the window of an index are known. There may be no v,
// which covers nothing.
func (v *View) Covers(window int) bool { return v != nil && v.Windows[window].First != 0 }

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

// userSums are the users of the known days.
type userSums struct {
	seed    maphash.Seed
	numbers map[uint64]uint32
	last    []int32 // by number: the newest day of use
	in      []sums  // in the order of the windows; empty where one is not covered
}

// sums are those of a window, by the number of a user.
type sums struct {
	use     []use
	credits []uint64
}

// User is what a [View] tells of one user. The zero value is a user without a row.
type User struct {
	userSums *userSums
	number   uint32
}

// Of returns what is known of the user of an id. There may be no v.
func (v *View) Of(id string) User {
	if v == nil {
		return User{}
	}
	if number, ok := v.numbers[maphash.String(v.seed, id)]; ok {
		return User{v.userSums, number}
	}
	return User{}
}

// Known reports whether the user has a row on any known day.
func (u User) Known() bool { return u.userSums != nil }

// LastUsed returns the newest known day on which the user used the product, zero if there
// is none.
func (u User) LastUsed() factoryapi.Day {
	if u.userSums == nil {
		return 0
	}
	return factoryapi.Day(u.userSums.last[u.number])
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
	if u.userSums == nil || u.userSums.in[window].use == nil {
		return Use{}
	}
	sums := u.userSums.in[window]
	use := sums.use[u.number]
	return Use{Used: use&used != 0, Unclear: use == unclear, Credits: sums.credits[u.number]}
}

// view returns what is known now. old is an earlier view of the same day, or nil. Its
// sums are used again if the same windows are covered.
func (l *Ledger) view(old *View) *View {
	v := *l.shown
	v.KnownDays = l.knownDays()
	covered := func(known int) (n int) {
		for _, days := range l.cfg.Windows {
			if days > 0 && days <= known {
				n++
			}
		}
		return n
	}
	if old != nil && covered(old.KnownDays) == covered(v.KnownDays) {
		v.Windows, v.Users, v.Used, v.userSums = old.Windows, old.Users, old.Used, old.userSums
	} else {
		l.sum(&v)
		l.unpublished = false
	}
	return &v
}

// knownDays returns how many days in a row are known, back from the day that is shown.
func (l *Ledger) knownDays() (n int) {
	for l.days[l.shown.Day-factoryapi.Day(n)] != nil {
		n++
	}
	return n
}

// sum adds the days of each covered window up.
func (l *Ledger) sum(v *View) {
	size := len(l.users) + len(l.free)
	v.Users, v.Windows = len(l.users), make([]Window, len(l.cfg.Windows))
	v.userSums = &userSums{seed: l.seed, numbers: maps.Clone(l.users), last: make([]int32, size), in: make([]sums, len(v.Windows))}
	for day, r := range l.days {
		for e := range r.all() {
			if e.use == used {
				v.last[e.user] = max(v.last[e.user], int32(day))
			}
		}
	}
	for i, days := range l.cfg.Windows {
		if days == 0 || days > v.KnownDays {
			continue
		}
		w := Window{First: v.Day - factoryapi.Day(days) + 1, Priced: true}
		in := sums{make([]use, size), make([]uint64, size)}
		for day := w.First; day <= v.Day; day++ {
			r := l.days[day]
			w.Priced = w.Priced && r.priced
			if r.used {
				w.ActiveDays++
			}
			for e := range r.all() {
				in.use[e.user] |= e.use
				in.credits[e.user] += e.credits
			}
		}
		v.Windows[i], v.in[i] = w, in
	}
	if longest := v.Longest(); longest >= 0 {
		for _, use := range v.in[longest].use {
			if use&used != 0 {
				v.Used++
			}
		}
	}
}
