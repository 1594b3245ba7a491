package census

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"factory_exporter/factoryapi"
)

// Values of an attribute that do not come from the API.
const (
	OtherValue = "(other)" // users whose value is beyond the limit
	NoValue    = "(none)"  // users without a value
)

// GroupCounts are the users that share a value of an attribute.
type GroupCounts struct {
	Attribute, Value string
	Users            int
	Windows          []WindowCounts
}

// groups counts users by the value of an attribute.
type groups struct {
	attribute Attribute
	numbers   map[string]int // of the groups, by value
	found     bool           // a user has a value
	otherCase string         // of the attribute's key, while none has
	tallies
}

func (g *groups) add(user *factoryapi.User, in []WindowMembership) {
	value := g.attribute.Of(user)
	g.found = g.found || value != ""
	if !g.found && g.otherCase == "" {
		g.otherCase, _ = user.Metadata.OtherCase(g.attribute.metadataKey)
	}
	value = LabelValue(cmp.Or(value, NoValue))
	number, ok := g.numbers[value]
	if !ok {
		number = g.addGroup()
		g.numbers[strings.Clone(value)] = number
	}
	g.tallies.add(number, in)
}

// largest returns the groups with the most users, those of equal size by name, and the
// sum of all others.
func (g *groups) largest(limit int) (largest []GroupCounts) {
	// An API's value of the name of the others is added to them.
	special := func(value string) bool { return value == NoValue || value == OtherValue }
	ranked := slices.DeleteFunc(slices.Collect(maps.Keys(g.numbers)), special)
	slices.SortFunc(ranked, func(a, b string) int {
		return cmp.Or(cmp.Compare(g.users[g.numbers[b]], g.users[g.numbers[a]]), strings.Compare(a, b))
	})
	kept := min(limit, len(ranked))
	show := func(value string, of ...string) {
		sum := GroupCounts{Attribute: g.attribute.String(), Value: value, Windows: make([]WindowCounts, g.size)}
		for _, value := range of {
			if number, ok := g.numbers[value]; ok {
				g.addTo(&sum, number)
			}
		}
		if sum.Users > 0 {
			largest = append(largest, sum)
		}
	}
	for _, value := range ranked[:kept] {
		show(value, value)
	}
	show(NoValue, NoValue)
	show(OtherValue, append(ranked[kept:], OtherValue)...)
	return largest
}

// tallies count users in numbered groups. An organization may have a group for each user,
// so a group takes little memory.
type tallies struct {
	size      int  // number of windows
	withUsage bool // else there are no usage tallies
	users     []uint32
	windows   []windowTally // those of a group side by side
	usage     []usageTally  // likewise
}

type (
	windowTally struct{ active, idle, new uint32 }
	usageTally  struct {
		used, unused uint32
		credits      uint64
	}
)

// addGroup adds an empty group and returns its number.
func (t *tallies) addGroup() (group int) {
	t.users = append(t.users, 0)
	t.windows = append(t.windows, make([]windowTally, t.size)...)
	if t.withUsage {
		t.usage = append(t.usage, make([]usageTally, t.size)...)
	}
	return len(t.users) - 1
}

func (t *tallies) add(group int, in []WindowMembership) {
	t.users[group]++
	for i := range in {
		window := &t.windows[group*t.size+i]
		increment(&window.active, in[i].Active)
		increment(&window.idle, in[i].Idle)
		increment(&window.new, in[i].New)
		if t.withUsage {
			usage := &t.usage[group*t.size+i]
			increment(&usage.used, in[i].Used)
			increment(&usage.unused, in[i].Unused)
			usage.credits += in[i].Credits
		}
	}
}

func increment(n *uint32, by bool) {
	if by {
		*n++
	}
}

func (t *tallies) addTo(sum *GroupCounts, group int) {
	sum.Users += int(t.users[group])
	for i := range sum.Windows {
		w, window := &sum.Windows[i], t.windows[group*t.size+i]
		w.Active += int(window.active)
		w.Idle += int(window.idle)
		w.New += int(window.new)
		if t.withUsage {
			usage := t.usage[group*t.size+i]
			w.Used += int(usage.used)
			w.Unused += int(usage.unused)
			w.Credits += usage.credits
		}
	}
}
