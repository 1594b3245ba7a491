// Package userlist prints the members behind the gauges.
package userlist

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// Options say which members to print, and how.
type Options struct {
	Filters        []Filter // all of them must hold
	NeverSignedIn  bool
	Matches        []Match // likewise
	Format         string  // table, csv or json
	Output         string  // file to write; empty: stdout
	GroupBy        []census.Attribute
	Usage          bool // read the analytics
	ListingTimeout time.Duration
	Quiet          bool // tell nothing on a terminal, because log lines do
}

// Filter keeps the members that factory_users_NAME counts: idle, active, new, used or
// unused.
type Filter struct {
	Name   string
	Window census.Window
}

// NeedsUsage reports whether the filter needs the analytics.
func (f Filter) NeedsUsage() bool { return f.Name == "used" || f.Name == "unused" }

func (f Filter) String() string { return fmt.Sprintf("--%s=%s", f.Name, f.Window.Label) }

func (f Filter) holds(in census.WindowMembership) bool {
	switch f.Name {
	case "idle":
		return in.Idle
	case "active":
		return in.Active
	case "new":
		return in.New
	case "used":
		return in.Used
	default:
		return in.Unused
	}
}

// Match keeps the members with a value of an attribute.
type Match struct {
	attribute census.Attribute
	value     string
}

// ParseMatch reads ATTRIBUTE=VALUE.
func ParseMatch(text string) (Match, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || value == "" {
		return Match{}, fmt.Errorf("not ATTRIBUTE=VALUE; the value of members without one is %s", census.NoValue)
	}
	attribute, err := census.ParseAttribute(name)
	if err == nil && value == census.OtherValue {
		err = fmt.Errorf("%s is a sum of many values: give one of them", value)
	}
	return Match{attribute, value}, err
}

func (m Match) holds(user *factoryapi.User) bool {
	value := cmp.Or(m.attribute.Of(user), census.NoValue)
	return value == m.value || census.LabelValue(value) == m.value ||
		m.attribute == census.Attribute{} && strings.EqualFold(value, m.value) // domains have no case
}

// List is a list to print.
type List struct{ Options }

// New returns a list, or an error that says which options do not go together.
func New(options Options) (*List, error) {
	for _, filter := range options.Filters {
		switch {
		case !filter.NeedsUsage():
		case !options.Usage:
			return nil, fmt.Errorf("%s needs --collector.usage, which reads who used the product", filter)
		case filter.Window.Length%(24*time.Hour) != 0:
			return nil, fmt.Errorf("%s: not a window of whole days, and the analytics tell of nothing else", filter)
		}
	}
	return &List{options}, nil
}

// user is one line of the list.
type user struct {
	id, email       string
	created, signIn factoryapi.Timestamp
	attributes      []string
	lastUsed        factoryapi.Day // zero: not known
	credits         string
}

// Print prints the members: all of them, or nothing and an error. logger gets the lines
// about the analytics; there may be none. On a terminal, stderr shows how far it is.
func (l *List) Print(ctx context.Context, client *factoryapi.Client, logger *slog.Logger, stdout, stderr io.Writer) error {
	out, err := l.open(stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	progress := newProgress(stderr, l.Quiet)
	view, err := l.readUsage(ctx, client, logger, progress)
	now := time.Now()
	var users []user
	var counts census.Counts
	if err == nil {
		users, counts, err = l.read(ctx, client, view, now, progress)
	}
	progress.show("")
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped before the list was complete")
	}
	if err != nil {
		return err
	}
	slices.SortFunc(users, compare)
	lines := bufio.NewWriterSize(out, 64<<10)
	err = l.write(lines, users, now)
	if err = cmp.Or(err, lines.Flush()); err == nil {
		err = out.finish()
	}
	switch {
	case errors.Is(err, syscall.EPIPE): // who reads the list has enough of it
		return nil
	case err != nil:
		return fmt.Errorf("cannot write the list: %w", err)
	}
	if counts.Duplicates > 0 {
		fmt.Fprintf(stderr, "The list of members shifted while it was read, so some may be missing. Entries that came twice: %d\n", counts.Duplicates)
	}
	progress.end(fmt.Sprintf("%d of %d members", len(users), counts.Users))
	return nil
}

// read returns the members to print, and the counts of all.
func (l *List) read(ctx context.Context, client *factoryapi.Client, view *usage.View, now time.Time, progress progress) (users []user, counts census.Counts, err error) {
	windows, _ := l.windows()
	counting := census.Config{Windows: windows, Visit: func(u *factoryapi.User, in census.Membership) {
		if l.contains(u, in) {
			users = append(users, l.newUser(u, view))
		}
	}}
	ctx, cancel := context.WithTimeout(ctx, l.ListingTimeout)
	defer cancel()
	counted := census.New(counting, now, view, nil)
	read := 0
	for page, err := range client.Pages(ctx) {
		if err != nil {
			return nil, counts, fmt.Errorf("cannot list the members: %w", err)
		}
		counted.Add(page...)
		read += len(page)
		progress.show(fmt.Sprintf("%d members read", read))
	}
	counts = counted.Counts()
	if view != nil && view.Users > 0 && counts.Users > 0 && counts.InUsage == 0 {
		return nil, counts, fmt.Errorf("not one user of the analytics is a member (days read: %d), so nothing can be told of the use of members: give --used and --unused a longer window, or leave out --collector.usage", view.KnownDays)
	}
	return users, counts, nil
}

// contains reports whether a member is to be printed. Its windows begin with those of
// the filters.
func (l *List) contains(u *factoryapi.User, in census.Membership) bool {
	for i, filter := range l.Filters {
		if !filter.holds(in.Windows[i]) {
			return false
		}
	}
	for _, match := range l.Matches {
		if !match.holds(u) {
			return false
		}
	}
	return in.NeverSignedIn || !l.NeverSignedIn
}

// newUser keeps what is printed of a member, whose text is not kept.
func (l *List) newUser(u *factoryapi.User, view *usage.View) user {
	line := user{
		id:      strings.Clone(printable(u.ID)),
		email:   strings.Clone(printable(u.Email)),
		created: u.CreatedAt,
		signIn:  u.LastSignInAt,
	}
	if view != nil {
		use := view.Of(u.ID)
		line.lastUsed, line.credits = use.LastUsed(), credits(view, use)
	}
	for _, attribute := range l.GroupBy {
		line.attributes = append(line.attributes, strings.Clone(printable(attribute.Of(u))))
	}
	return line
}

// compare puts those first who never signed in, then those who did not for longest, and
// those last of whom it is not known.
func compare(a, b user) int {
	return cmp.Or(cmp.Compare(a.signIn.State, b.signIn.State), a.signIn.Time.Compare(b.signIn.Time), cmp.Compare(a.id, b.id))
}
