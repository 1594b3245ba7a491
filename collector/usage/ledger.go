// Package usage keeps what the analytics of an organization tell of each day: who used
// the product, and what it cost. It decides which days to read next, and which to
// believe.
//
// A [Ledger] is written by one reading at a time. What it knows is published as a [View],
// which does not change. The package has no clock of its own.
package usage

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"

	"factory_exporter/factoryapi"
)

// Config says what a [Ledger] keeps.
type Config struct {
	// Windows are the lengths in days of the windows to show. Zero stands for a window
	// that is not of whole days: it is never covered.
	Windows []int
	// Members returns how many members the organization has. It is asked once there are
	// more users or days than those of an organization of leastMembers need. May be nil.
	Members func(context.Context) int
	// Logger gets the lines about days that are not believed. None if nil.
	Logger *slog.Logger
}

// Ledger keeps the days that are known. Of a user it keeps a fingerprint of the id, and
// of each day whether the user used the product, and the credits.
type Ledger struct {
	cfg     Config
	longest factoryapi.Day // of the windows
	seed    maphash.Seed
	users   map[uint64]uint32 // number by fingerprint
	shared  bool              // users is that of a view, too
	free    []uint32          // numbers that were given back
	days    map[factoryapi.Day]*record
	shown   *View          // the totals of the newest day that is known, nil before
	said    map[topic]bool // see say
}

// topic is what a line in the log is about.
type topic struct {
	about string
	day   factoryapi.Day // zero if it is about no day
}

// record is a day that is known.
type record struct {
	entries []byte // see encode
	active  int    // users who used the product, or of whom it is not clear
	used    bool   // by anybody
	credits uint64
	priced  bool           // the credits of each user are known
	read    factoryapi.Day // the newest day that was due when this one was read
}

func NewLedger(cfg Config) *Ledger {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Ledger{
		cfg:     cfg,
		longest: factoryapi.Day(slices.Max(append([]int{1}, cfg.Windows...))),
		seed:    maphash.MakeSeed(),
		users:   map[uint64]uint32{},
		days:    map[factoryapi.Day]*record{},
		said:    map[topic]bool{},
	}
}

// Bounds of what is kept. An organization where each of 20,000 members works every day
// needs 20,000 users and 9 MB for a window of 90 days.
const (
	leastMembers   = 20_000
	usersPerMember = 2
	bytesPerMember = 500
	// maxCredits are the most of a user on a day that are believed. Those of two million
	// users in 250 days add up to less than 2^64.
	maxCredits = 1 << 35
)

// exceeds reports whether n is more than an organization needs that needs so many for each
// member.
func (l *Ledger) exceeds(ctx context.Context, n, perMember int) bool {
	return n > perMember*leastMembers && (l.cfg.Members == nil || n > perMember*l.cfg.Members(ctx))
}

// number returns the number of a user, and gives a new one to a user who has none.
func (l *Ledger) number(ctx context.Context, id string) (uint32, error) {
	fingerprint := maphash.String(l.seed, id)
	number, ok := l.users[fingerprint]
	if ok {
		return number, nil
	}
	if l.exceeds(ctx, len(l.users)+1, usersPerMember) {
		return 0, fmt.Errorf("the analytics tell of more than %d users", len(l.users))
	}
	l.ownUsers()
	number = uint32(len(l.users))
	if n := len(l.free); n > 0 {
		number, l.free = l.free[n-1], l.free[:n-1]
	}
	l.users[fingerprint] = number
	return number, nil
}

// ownUsers makes sure that users may be changed.
func (l *Ledger) ownUsers() {
	if l.shared {
		l.users, l.shared = maps.Clone(l.users), false
	}
}

// keep keeps a day, in place of what was known of it.
func (l *Ledger) keep(ctx context.Context, day factoryapi.Day, r *record) error {
	size := len(r.entries)
	for d, other := range l.days {
		if d != day {
			size += len(other.entries)
		}
	}
	if l.exceeds(ctx, size, bytesPerMember) {
		return fmt.Errorf("the days of use need more than %d MiB: shorten the longest --collector.window", size>>20)
	}
	l.days[day] = r
	return nil
}

// forget drops the days that no window needs any more, and the users who are on no other
// day.
func (l *Ledger) forget() {
	first := factoryapi.Day(math.MaxInt)
	if l.shown != nil {
		first = l.shown.Day - l.longest + 1
	}
	maps.DeleteFunc(l.days, func(day factoryapi.Day, _ *record) bool { return day < first })
	maps.DeleteFunc(l.said, func(t topic, _ bool) bool { return t.day > 0 && t.day < first && l.shown != nil })
	needed := make([]bool, len(l.users)+len(l.free))
	for _, r := range l.days {
		for e := range r.all() {
			needed[e.user] = true
		}
	}
	l.ownUsers()
	maps.DeleteFunc(l.users, func(_ uint64, number uint32) bool {
		if !needed[number] {
			l.free = append(l.free, number)
		}
		return !needed[number]
	})
}

// say reports whether something was not said yet. What is about a day is forgotten with
// the day.
func (l *Ledger) say(t topic) bool {
	said := l.said[t]
	l.said[t] = true
	return !said
}

// entry is what one user did on a day.
type entry struct {
	user    uint32
	use     use
	credits uint64
}

// use says whether the product was used.
type use uint8

const (
	used    use = 1 << iota
	unclear     // a number is missing that might tell of use
	useBits = iota
)

// entryOf reads a row. A session, a message or a tool call is use of the product.
func entryOf(user uint32, row *factoryapi.Usage) entry {
	e := entry{user: user, credits: uint64(math.Round(min(row.Credits.Value, maxCredits)))}
	for _, number := range [...]factoryapi.Number{row.Sessions, row.Messages, row.ToolCalls} {
		if number.Value > 0 {
			e.use = used
			break
		}
		if !number.Valid {
			e.use = unclear
		}
	}
	return e
}

func byUser(a, b entry) int { return cmp.Compare(a.user, b.user) }

// encode sorts entries and packs them. The reference promises one row for each user, and a list that
// shifts may send one twice. So a user did what any row tells, and consumed what the
// first one tells: a sum might count the same credits twice.
func encode(entries []entry) *record {
	slices.SortStableFunc(entries, byUser)
	r := &record{}
	next := uint32(0)
	for i, e := range entries {
		if rest := entries[i+1:]; len(rest) > 0 && rest[0].user == e.user {
			rest[0].use |= e.use
			rest[0].credits = cmp.Or(e.credits, rest[0].credits)
			continue
		}
		r.entries = binary.AppendUvarint(r.entries, uint64(e.user-next))
		r.entries = binary.AppendUvarint(r.entries, e.credits<<useBits|uint64(e.use))
		next = e.user + 1
		r.credits += e.credits
		if e.use != 0 {
			r.active++
		}
		r.used = r.used || e.use&used != 0
	}
	r.entries = slices.Clip(slices.Clone(r.entries))
	return r
}

// all yields the entries of a day, by user.
func (r *record) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		next := uint32(0)
		for rest := r.entries; len(rest) > 0; {
			skipped, n := binary.Uvarint(rest)
			value, m := binary.Uvarint(rest[n:])
			rest = rest[n+m:]
			e := entry{user: next + uint32(skipped), use: use(value) & (used | unclear), credits: value >> useBits}
			next = e.user + 1
			if !yield(e) {
				return
			}
		}
	}
}
