// Package census counts the users of an organization at one instant. It is pure: users
// in, numbers out.
package census

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// Window is a span of time that ends at a listing's start.
type Window struct {
	Label  string // as it was typed
	Length time.Duration
}

// Days returns the length of a window of whole days, and zero for another one.
func (w Window) Days() int {
	if w.Length%day != 0 {
		return 0
	}
	return int(w.Length / day)
}

// Config says what a [Census] counts in addition to the plain totals.
type Config struct {
	Windows []Window
	// GroupBy are the attributes to count by.
	GroupBy []Attribute
	// GroupLimit is how many values of an attribute are kept. The users of all other
	// values are summed under OtherValue. Zero keeps none.
	GroupLimit int
	// PerUser keeps each user's id and timestamps.
	PerUser bool
	// Visit, if set, is called with each user that was counted, and the counts that the
	// user is in. They are valid until Visit returns.
	Visit func(*factoryapi.User, Membership)
}

// Membership says which counts a user is in.
type Membership struct {
	NeverSignedIn bool
	Windows       []WindowMembership // in the order of Config.Windows
}

// WindowMembership says which counts of a window a user is in.
type WindowMembership struct {
	Active, Idle, New, Used, Unused bool
	Credits                         uint64 // that the user consumed
}

// Counts are the numbers of one listing.
type Counts struct {
	Users         int
	NeverSignedIn int
	Windows       []WindowCounts // in the order of Config.Windows
	SignInAges    histogram
	Groups        []GroupCounts // by attribute, the largest value first, NoValue and OtherValue last
	PerUser       []UserTimes   // by id, with Config.PerUser
	Duplicates    int           // entries whose id had already appeared
	// OtherCase are the attributes of Config.GroupBy that no user has, by those that differ
	// from them in the case of letters alone, and that users have.
	OtherCase map[Attribute]Attribute
	// InUsage are those whom the usage knows. Credits are, for each window that it covers,
	// those of each user who used the product within it.
	InUsage int
	Credits []histogram
	// Timestamps that could not be read. The API document requires createdAt, so one that
	// is missing counts as well.
	InvalidCreatedAt, InvalidLastSignInAt int
}

// WindowCounts counts users in one window. The edges belong to the window.
type WindowCounts struct {
	Active int // signed in within the window
	Idle   int // account older than the window, no sign-in within it
	New    int // account made within the window
	// The window of these ends with the newest day of the usage. They are zero where the
	// usage does not cover the window.
	Used    int    // used the product within the window
	Unused  int    // account older than the window, no use within it
	Credits uint64 // consumed within the window
}

// UserTimes are the timestamps of one user. An unknown one is not Valid.
type UserTimes struct {
	ID                      string
	CreatedAt, LastSignInAt factoryapi.Timestamp
}

// Census counts users. If several users share an id, the first one counts; apart from
// that, the order of the users does not matter.
//
// A user with a timestamp that cannot be read does not count in numbers that need the
// timestamp. A sign-in or a creation in the future counts as one that is just now.
type Census struct {
	cfg     Config
	now     time.Time
	usage   *usage.View // nil if it is not known
	earlier *Roster     // never nil

	seen    map[fingerprint]struct{} // of the ids
	in      Membership               // of the user at hand
	counts  Counts                   // without windows and groups
	all     tallies                  // of one group
	ages    sample                   // in seconds
	credits []sample                 // by window, none without usage
	groups  []groups                 // by attribute
}

// New begins a census at the instant now. view is of the same windows, or nil. earlier is
// the roster to compare with, or nil.
func New(cfg Config, now time.Time, view *usage.View, earlier *Roster) *Census {
	earlier = cmp.Or(earlier, &Roster{seed: maphash.MakeSeed()})
	c := &Census{cfg: cfg, now: now, usage: view, earlier: earlier}
	c.seen = make(map[fingerprint]struct{}, len(earlier.users))
	c.in.Windows = make([]WindowMembership, len(cfg.Windows))
	c.all = c.newTallies()
	c.all.addGroup()
	c.ages = newSample(ageBounds())
	if view != nil {
		for range cfg.Windows {
			c.credits = append(c.credits, newSample(creditBounds()))
		}
	}
	for _, attribute := range cfg.GroupBy {
		c.groups = append(c.groups, groups{attribute: attribute, numbers: map[string]int{}, tallies: c.newTallies()})
	}
	return c
}

func (c *Census) newTallies() tallies {
	return tallies{size: len(c.cfg.Windows), withUsage: c.usage != nil}
}

// Add counts users. A user whose id was counted before is a duplicate.
func (c *Census) Add(users ...factoryapi.User) {
	for i := range users {
		before := len(c.seen)
		c.seen[fingerprintOf(c.earlier.seed, users[i].ID)] = struct{}{}
		if len(c.seen) > before {
			c.add(&users[i])
		} else {
			c.counts.Duplicates++
		}
	}
}

func (c *Census) add(user *factoryapi.User) {
	c.classify(user)
	c.all.add(0, c.in.Windows)
	for i := range c.groups {
		c.groups[i].add(user, c.in.Windows)
	}
	if c.cfg.PerUser {
		c.counts.PerUser = append(c.counts.PerUser, UserTimes{strings.Clone(LabelValue(user.ID)), user.CreatedAt, user.LastSignInAt})
	}
	if c.cfg.Visit != nil {
		c.cfg.Visit(user, c.in)
	}
}

// classify finds the counts that a user is in, and counts what belongs to no window.
func (c *Census) classify(user *factoryapi.User) {
	var sinceCreation, sinceSignIn time.Duration
	created, signedIn := false, false
	mayHaveSignedIn := user.LastSignInAt.State == factoryapi.Invalid
	if created = user.CreatedAt.State == factoryapi.Valid; created {
		sinceCreation = max(0, c.now.Sub(user.CreatedAt.Time))
	} else {
		c.counts.InvalidCreatedAt++
	}
	c.in.NeverSignedIn = false
	switch user.LastSignInAt.State {
	case factoryapi.Valid:
		signedIn = true
		sinceSignIn = max(0, c.now.Sub(user.LastSignInAt.Time))
		c.ages.add(wholeSeconds(sinceSignIn))
	case factoryapi.Missing:
		c.in.NeverSignedIn = true
		c.counts.NeverSignedIn++
	default:
		c.counts.InvalidLastSignInAt++
	}
	known := c.usage.Of(user.ID)
	if known.Known() {
		c.counts.InUsage++
	}
	for i, window := range c.cfg.Windows {
		in := &c.in.Windows[i]
		in.Active = signedIn && sinceSignIn <= window.Length
		in.New = created && sinceCreation <= window.Length
		in.Idle = created && !in.New && !in.Active && !mayHaveSignedIn
		if c.usage.Covers(i) {
			use := known.In(i)
			in.Used, in.Credits = use.Used, use.Credits
			in.Unused = created && user.CreatedAt.Time.Before(c.usage.Windows[i].First.Start()) && !use.Used && !use.Unclear
			if use.Used {
				c.credits[i].add(use.Credits)
			}
		}
	}
}

// Counts returns the numbers of all users added so far.
func (c *Census) Counts() Counts {
	counts := c.counts
	all := GroupCounts{Windows: make([]WindowCounts, len(c.cfg.Windows))}
	c.all.addTo(&all, 0)
	counts.Users, counts.Windows = all.Users, all.Windows
	counts.SignInAges = c.ages.histogram()
	for i := range c.credits {
		counts.Credits = append(counts.Credits, c.credits[i].histogram())
	}
	for i := range c.groups {
		g := &c.groups[i]
		counts.Groups = append(counts.Groups, g.largest(c.cfg.GroupLimit)...)
		if !g.found && g.otherCase != "" {
			if counts.OtherCase == nil {
				counts.OtherCase = map[Attribute]Attribute{}
			}
			counts.OtherCase[g.attribute] = Attribute{g.otherCase}
		}
	}
	// The exposition has this order. A scrape need not sort what is sorted already.
	counts.PerUser = slices.SortedFunc(slices.Values(counts.PerUser), func(a, b UserTimes) int { return strings.Compare(a.ID, b.ID) })
	return counts
}
