// Package userlist prints the users behind the gauges.
package userlist

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// Options say which users to print, and how.
type Options struct {
	Filters        []string // the names of those with a window that were given
	Window         census.Window
	NeverSignedIn  bool
	Format         string // table, csv or json
	GroupBy        []census.Attribute
	Usage          bool // read the analytics
	ListingTimeout time.Duration
}

// Check returns an error if the options do not go together.
func (l *Options) Check() error {
	filters := l.Filters
	if l.NeverSignedIn {
		filters = append(filters, "never-signed-in")
	}
	if len(filters) > 1 {
		return fmt.Errorf("--%s and --%s: give at most one of these", filters[0], filters[1])
	}
	if !l.needsUsage() {
		return nil
	}
	flag := fmt.Sprintf("--%s=%s", l.Filters[0], l.Window.Label)
	switch {
	case !l.Usage:
		return fmt.Errorf("%s needs --collector.usage, which reads who used the product", flag)
	case l.Window.Length%(24*time.Hour) != 0:
		return fmt.Errorf("%s: not a window of whole days, and the analytics tell of nothing else", flag)
	}
	return nil
}

func (l *Options) needsUsage() bool {
	return len(l.Filters) > 0 && (l.Filters[0] == "used" || l.Filters[0] == "unused")
}

// contains reports whether a member is to be printed. The first window is that of the
// filter.
func (l *Options) contains(in census.Membership) bool {
	if l.NeverSignedIn {
		return in.NeverSignedIn
	}
	if len(l.Filters) == 0 {
		return true
	}
	window := in.Windows[0]
	switch l.Filters[0] {
	case "idle":
		return window.Idle
	case "active":
		return window.Active
	case "new":
		return window.New
	case "used":
		return window.Used
	default: // unused
		return window.Unused
	}
}

// user is one line of the list.
type user struct {
	id, email       string
	created, signIn factoryapi.Timestamp
	attributes      []string
	lastUsed        factoryapi.Day
	credits         string // empty if they are not known
}

// Print prints the users to stdout: all of them, or nothing and an error. On a terminal,
// stderr shows how far it is.
func Print(ctx context.Context, client *factoryapi.Client, cfg Options, stdout, stderr io.Writer) error {
	progress := newProgress(stderr)
	users, err := readUsers(ctx, cfg, client, progress)
	progress.clear()
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped before the list was complete")
	}
	if err != nil {
		return err
	}
	slices.SortFunc(users, compare)
	var list bytes.Buffer
	if err := write(&list, cfg, users); err != nil {
		return err
	}
	_, err = stdout.Write(list.Bytes())
	return err
}

// readUsers returns the users to print.
func readUsers(ctx context.Context, cfg Options, client *factoryapi.Client, progress progress) ([]user, error) {
	var users []user
	var view *usage.View
	counting := census.Config{Visit: func(u *factoryapi.User, in census.Membership) {
		if cfg.contains(in) {
			users = append(users, newUser(u, cfg.GroupBy, view))
		}
	}}
	if len(cfg.Filters) > 0 {
		counting.Windows = []census.Window{cfg.Window}
	}
	if cfg.Usage {
		if !cfg.needsUsage() {
			counting.Windows = append(counting.Windows, census.Window{Length: usageWindow})
		}
		var err error
		if view, err = readUsage(ctx, client, counting.Windows, progress); err != nil {
			return nil, fmt.Errorf("cannot read the analytics: %w", err)
		}
	}
	if cfg.needsUsage() && !view.Covers(0) {
		return nil, fmt.Errorf("--%s=%s: the window is too long, because the analytics tell of %s to %s only", cfg.Filters[0], cfg.Window.Label, view.Day-factoryapi.Day(view.KnownDays)+1, view.Day)
	}

	ctx, cancel := context.WithTimeout(ctx, cfg.ListingTimeout)
	defer cancel()
	counted := census.New(counting, time.Now(), view, maphash.MakeSeed())
	read := 0
	for page, err := range client.Pages(ctx) {
		if err != nil {
			return nil, fmt.Errorf("cannot list the members: %w", err)
		}
		counted.Add(page...)
		read += len(page)
		progress.show(fmt.Sprintf("%d members read", read))
	}
	return users, nil
}

// usageWindow is what the columns last_used and credits are of, unless a filter has its own
// window.
const usageWindow = 30 * 24 * time.Hour

// readUsage reads what the last window tells, and no more.
func readUsage(ctx context.Context, client *factoryapi.Client, windows []census.Window, progress progress) (view *usage.View, err error) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Hour)
	defer cancel()
	lengths := make([]int, len(windows))
	lengths[len(windows)-1] = windows[len(windows)-1].Days()
	progress.show("Reading the analytics")
	err = usage.NewLedger(usage.Config{Windows: lengths}).Read(ctx, client, time.Now(), func(v *usage.View) {
		view = v
		progress.show(fmt.Sprintf("%d days of use read", v.KnownDays))
	})
	return view, err
}

// newUser keeps what is printed of a user, whose text is not kept.
func newUser(u *factoryapi.User, attributes []census.Attribute, view *usage.View) user {
	m := user{
		id:      strings.Clone(u.ID),
		email:   strings.Clone(u.Email),
		created: u.CreatedAt,
		signIn:  u.LastSignInAt,
	}
	for _, attribute := range attributes {
		m.attributes = append(m.attributes, strings.Clone(attribute.Of(u)))
	}
	if view != nil {
		m.lastUsed = view.Of(u.ID).LastUsed()
		if last := len(view.Windows) - 1; view.Covers(last) && view.Windows[last].Priced {
			m.credits = strconv.FormatUint(view.Of(u.ID).In(last).Credits, 10)
		}
	}
	return m
}

// compare puts those first who never signed in, then those who did not for
// longest, and those last of whom it is not known.
func compare(a, b user) int {
	rank := [...]int{factoryapi.Missing: 0, factoryapi.Valid: 1, factoryapi.Invalid: 2}
	return cmp.Or(
		cmp.Compare(rank[a.signIn.State], rank[b.signIn.State]),
		a.signIn.Time.Compare(b.signIn.Time),
		cmp.Compare(a.id, b.id),
	)
}

// write writes the users in the format that cfg says.
func write(w io.Writer, cfg Options, users []user) error {
	columns := []string{"id", "email", "created", "last_sign_in"}
	for _, attribute := range cfg.GroupBy {
		columns = append(columns, attribute.String())
	}
	if cfg.Usage {
		columns = append(columns, "last_used", "credits")
	}
	rows := func(yield func([]string) bool) {
		for _, m := range users {
			cells := append([]string{m.id, m.email, timestampCell(m.created), timestampCell(m.signIn)}, m.attributes...)
			if cfg.Usage {
				cells = append(cells, dayCell(m.lastUsed), m.credits)
			}
			if !yield(cells) {
				return
			}
		}
	}
	switch cfg.Format {
	case "csv":
		lines := csv.NewWriter(w)
		_ = lines.Write(apply(harmless, columns)) // errors are those of Flush
		for cells := range rows {
			_ = lines.Write(apply(harmless, cells))
		}
		lines.Flush()
		return lines.Error()
	case "json":
		for cells := range rows {
			if err := writeObject(w, columns, cells); err != nil {
				return err
			}
		}
		return nil
	}
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(lines, strings.Join(apply(printable, columns), "\t"))
	for cells := range rows {
		fmt.Fprintln(lines, strings.Join(apply(printable, cells), "\t"))
	}
	return lines.Flush()
}

// writeObject writes a JSON object on one line, with its fields in order.
func writeObject(w io.Writer, names, values []string) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	for i, name := range names {
		before := byte(',')
		if i == 0 {
			before = '{'
		}
		line.WriteByte(before)
		for j, text := range []string{name, values[i]} {
			if j == 1 {
				line.WriteByte(':')
			}
			if err := encoder.Encode(text); err != nil {
				return err
			}
			line.Truncate(line.Len() - 1) // the line break of Encode
		}
	}
	line.WriteString("}\n")
	_, err := w.Write(line.Bytes())
	return err
}

func apply(change func(string) string, cells []string) []string {
	changed := make([]string, len(cells))
	for i, cell := range cells {
		changed[i] = change(cell)
	}
	return changed
}

// harmless keeps a spreadsheet from taking the text of a member for a formula.
func harmless(cell string) string {
	if strings.IndexAny(cell, "=+-@\t\r\n") == 0 {
		return "'" + cell
	}
	return cell
}

// printable keeps the text of a member from commanding a terminal, and in its column.
func printable(cell string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, cell)
}

func timestampCell(t factoryapi.Timestamp) string {
	if t.State != factoryapi.Valid {
		return ""
	}
	return t.Time.UTC().Format(time.RFC3339)
}

func dayCell(d factoryapi.Day) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// progress is a line on a terminal that tells how far the command is.
type progress struct{ terminal io.Writer } // nil: nobody looks

// newProgress returns a progress on w if that is a terminal.
func newProgress(w io.Writer) progress {
	file, ok := w.(*os.File)
	if !ok {
		return progress{}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return progress{}
	}
	return progress{file}
}

func (p progress) show(line string) {
	if p.terminal != nil {
		fmt.Fprint(p.terminal, "\r"+line+eraseRest)
	}
}

func (p progress) clear() {
	if p.terminal != nil {
		fmt.Fprint(p.terminal, "\r"+eraseRest)
	}
}

// eraseRest erases a terminal's line from the cursor on.
const eraseRest = "\x1b[K"
