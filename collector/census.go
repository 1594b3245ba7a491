package collector

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"factory_exporter/factoryapi"
)

// Window is a span of time that ends at a listing's start.
type Window struct {
	Label  string // the value of the label "window"
	Length time.Duration
}

// CensusConfig says what a [Census] counts in addition to the plain totals.
type CensusConfig struct {
	Windows []Window
	// GroupBy are the attributes to count by.
	GroupBy []Attribute
	// GroupLimit is how many values of an attribute are kept. The members of all
	// other values are summed under OtherValue. Zero keeps none.
	GroupLimit int
	// PerUser keeps each member's id and timestamps.
	PerUser bool
	// Visit, if set, is called with each member that was counted, and the counts that
	// the member is in. They are valid until Visit returns.
	Visit func(*factoryapi.User, Membership)
}

// Membership says which counts a member is in.
type Membership struct {
	NeverSignedIn bool
	Windows       []WindowMembership // in the order of CensusConfig.Windows
}

// WindowMembership says which counts of a window a member is in.
type WindowMembership struct{ Active, Idle, New, Used, Unused bool }

// Values of an attribute that do not come from the API.
const (
	OtherValue = "(other)" // members whose value is beyond the limit
	NoValue    = "(none)"  // members without a value
)

// ageBuckets are the upper bounds of the histogram of sign-in ages, in days.
var ageBuckets = [...]int{1, 3, 7, 14, 30, 60, 90, 180, 365} //nolint:gochecknoglobals // Go has no constant arrays

const day = 24 * time.Hour

// Counts are the numbers of one listing.
type Counts struct {
	Users         int
	NeverSignedIn int
	Windows       []WindowCounts // in the order of CensusConfig.Windows
	SignInAges    AgeHistogram
	Groups        []GroupCounts // by attribute, the largest value first, NoValue and OtherValue last
	Members       []MemberTimes // with CensusConfig.PerUser
	Duplicates    int           // entries whose id had already appeared
	Invalid       InvalidCounts
}

// WindowCounts counts members in one window. The edges belong to the window.
type WindowCounts struct {
	Active int // signed in within the window
	Idle   int // account older than the window, no sign-in within it
	New    int // account made within the window
	// The window of these ends with the day of the Usage. Both are zero if the Usage
	// does not cover the window.
	Used   int // used the product within the window
	Unused int // account older than the window, no use within it
}

// AgeHistogram is the time since the last sign-in, over members who ever signed in.
type AgeHistogram struct {
	Count   uint64
	Seconds float64            // the sum
	Buckets map[float64]uint64 // cumulative, by upper bound in seconds
}

// GroupCounts are the members that share a value of an attribute.
type GroupCounts struct {
	Attribute, Value string
	Users            int
	Windows          []WindowCounts
}

// MemberTimes are the timestamps of one member. An unknown one is not Valid.
type MemberTimes struct {
	ID                      string
	CreatedAt, LastSignInAt factoryapi.Timestamp
}

// InvalidCounts counts timestamps that could not be read, by field. The API document
// requires createdAt, so a missing createdAt counts as well.
type InvalidCounts struct{ CreatedAt, LastSignInAt int }

// Census counts users at one instant. It is pure: it has no clock and does no I/O. If
// several users share an id, the first one counts; apart from that, the order of the
// users does not matter.
//
// A user with a timestamp that cannot be read does not count in numbers that need the
// timestamp. A sign-in or a creation in the future counts as one that is just now.
type Census struct {
	cfg    CensusConfig
	now    time.Time
	usage  *Usage // nil if it is not known
	roster *Roster
	in     Membership // of the user at hand

	users, never, duplicates int
	invalid                  InvalidCounts
	windows                  []WindowCounts
	ages                     ageCounts
	groups                   []map[string]*GroupCounts // by attribute, then value
	members                  []MemberTimes
}

// NewCensus begins a census at the instant now. usage is a reading for the same windows,
// or nil. Ids are kept in roster, which must be empty.
func NewCensus(cfg CensusConfig, now time.Time, usage *Usage, roster *Roster) *Census {
	c := &Census{cfg: cfg, now: now, usage: usage, roster: roster, windows: make([]WindowCounts, len(cfg.Windows))}
	c.in.Windows = make([]WindowMembership, len(cfg.Windows))
	for range cfg.GroupBy {
		c.groups = append(c.groups, map[string]*GroupCounts{})
	}
	return c
}

// Add counts users. A user whose id was counted before is a duplicate.
func (c *Census) Add(users ...factoryapi.User) {
	for i := range users {
		if c.roster.add(users[i].ID) {
			c.addNew(&users[i])
		} else {
			c.duplicates++
		}
	}
}

func (c *Census) addNew(user *factoryapi.User) {
	c.users++
	p := c.classify(user)
	c.find(p)
	c.count(c.windows)
	switch {
	case c.in.NeverSignedIn:
		c.never++
	case p.signedIn:
		c.ages.add(p.sinceSignIn)
	default:
		c.invalid.LastSignInAt++
	}
	if !p.created {
		c.invalid.CreatedAt++
	}
	for i, attribute := range c.cfg.GroupBy {
		group := c.group(c.groups[i], attribute, user)
		group.Users++
		c.count(group.Windows)
	}
	if c.cfg.PerUser {
		c.members = append(c.members, MemberTimes{strings.Clone(labelValue(user.ID)), user.CreatedAt, user.LastSignInAt})
	}
	if c.cfg.Visit != nil {
		c.cfg.Visit(user, c.in)
	}
}

// Counts returns the numbers of all users added so far. They share only the per-user
// list with the census.
func (c *Census) Counts() Counts {
	counts := Counts{
		Users:         c.users,
		NeverSignedIn: c.never,
		Windows:       slices.Clone(c.windows),
		SignInAges:    c.ages.histogram(),
		Members:       c.members,
		Duplicates:    c.duplicates,
		Invalid:       c.invalid,
	}
	for i := range c.groups {
		counts.Groups = append(counts.Groups, c.largest(c.groups[i])...)
	}
	return counts
}

// person is what a census knows of a user: which events are known, and their age.
type person struct {
	created, signedIn, mayHaveSignedIn bool
	createdAt                          time.Time
	sinceCreation, sinceSignIn         time.Duration
	fingerprint                        uint64 // in the usage, if there is one
}

func (c *Census) classify(user *factoryapi.User) person {
	p := person{
		created:         user.CreatedAt.State == factoryapi.Valid,
		signedIn:        user.LastSignInAt.State == factoryapi.Valid,
		mayHaveSignedIn: user.LastSignInAt.State == factoryapi.Invalid,
	}
	if p.created {
		p.createdAt = user.CreatedAt.Time
		p.sinceCreation = max(0, c.now.Sub(user.CreatedAt.Time))
	}
	if p.signedIn {
		p.sinceSignIn = max(0, c.now.Sub(user.LastSignInAt.Time))
	}
	if c.usage != nil {
		p.fingerprint = c.usage.fingerprint(user.ID)
	}
	return p
}

// find finds the counts that a person is in.
func (c *Census) find(p person) {
	c.in.NeverSignedIn = !p.signedIn && !p.mayHaveSignedIn
	for i, window := range c.cfg.Windows {
		w := &c.in.Windows[i]
		w.Active = p.signedIn && p.sinceSignIn <= window.Length
		w.New = p.created && p.sinceCreation <= window.Length
		w.Idle = p.created && !w.New && !w.Active && !p.mayHaveSignedIn
		if c.usage.Covers(i) {
			usage := c.usage.windows[i]
			use := usage.users[p.fingerprint]
			w.Used = use.used
			w.Unused = p.created && p.createdAt.Before(usage.days.First.Start()) && !use.used && !use.unclear
		}
	}
}

// count adds the user at hand to the counts of every window.
func (c *Census) count(windows []WindowCounts) {
	for i := range windows {
		in, w := &c.in.Windows[i], &windows[i]
		w.Active += one(in.Active)
		w.Idle += one(in.Idle)
		w.New += one(in.New)
		if c.usage != nil {
			w.Used += one(in.Used)
			w.Unused += one(in.Unused)
		}
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// group returns the counts of the user's value of an attribute.
func (c *Census) group(groups map[string]*GroupCounts, attribute Attribute, user *factoryapi.User) *GroupCounts {
	value := attribute.Of(user)
	if value == "" {
		value = NoValue
	}
	value = labelValue(value)
	group := groups[value]
	if group == nil {
		value = strings.Clone(value)
		group = &GroupCounts{Attribute: attribute.String(), Value: value, Windows: make([]WindowCounts, len(c.cfg.Windows))}
		groups[value] = group
	}
	return group
}

// largest returns the groups with the most members, those of equal size by name,
// and the sum of all others.
func (c *Census) largest(groups map[string]*GroupCounts) []GroupCounts {
	var ranked, always []GroupCounts
	other := GroupCounts{Value: OtherValue, Windows: make([]WindowCounts, len(c.cfg.Windows))}
	for value, group := range groups {
		switch value {
		case NoValue:
			always = append(always, group.clone())
		case OtherValue: // an API's value of the same name is added to the others
			other.add(group)
		default:
			ranked = append(ranked, group.clone())
		}
	}
	slices.SortFunc(ranked, func(a, b GroupCounts) int {
		return cmp.Or(cmp.Compare(b.Users, a.Users), cmp.Compare(a.Value, b.Value))
	})
	kept := min(c.cfg.GroupLimit, len(ranked))
	for i := range ranked[kept:] {
		other.add(&ranked[kept+i])
	}
	if other.Users > 0 {
		always = append(always, other)
	}
	return append(ranked[:kept:kept], always...)
}

func (g *GroupCounts) clone() GroupCounts {
	clone := *g
	clone.Windows = slices.Clone(g.Windows)
	return clone
}

func (g *GroupCounts) add(other *GroupCounts) {
	g.Attribute = other.Attribute
	g.Users += other.Users
	for i, w := range other.Windows {
		g.Windows[i].Active += w.Active
		g.Windows[i].Idle += w.Idle
		g.Windows[i].New += w.New
		g.Windows[i].Used += w.Used
		g.Windows[i].Unused += w.Unused
	}
}

// ageCounts gathers a histogram. It keeps seconds and nanoseconds as two whole numbers:
// a Duration cannot hold the sum of a large organization, and a sum of floats would
// depend on the order of the users.
type ageCounts struct {
	buckets              [len(ageBuckets)]uint64 // cumulative
	count                uint64
	seconds, nanoseconds int64
}

func (a *ageCounts) add(age time.Duration) {
	a.count++
	a.seconds += int64(age / time.Second)
	a.nanoseconds += int64(age % time.Second)
	for i, days := range ageBuckets {
		if age <= time.Duration(days)*day {
			a.buckets[i]++
		}
	}
}

func (a *ageCounts) histogram() AgeHistogram {
	h := AgeHistogram{
		Count:   a.count,
		Seconds: float64(a.seconds) + float64(a.nanoseconds)/1e9,
		Buckets: make(map[float64]uint64, len(ageBuckets)),
	}
	for i, days := range ageBuckets {
		h.Buckets[(time.Duration(days) * day).Seconds()] = a.buckets[i]
	}
	return h
}
