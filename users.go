package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
)

const neverSignedIn = "never-signed-in"

// memberList says which members to print, and how.
type memberList struct {
	filters       []string // the names of those with a window that were given
	window        collector.Window
	neverSignedIn bool
	format        string // table, csv or json
}

// check returns an error if the flags do not go together.
func (l *memberList) check(usage bool) error {
	filters := l.filters
	if l.neverSignedIn {
		filters = append(filters, neverSignedIn)
	}
	if len(filters) > 1 {
		return fmt.Errorf("--%s and --%s: give at most one of these", filters[0], filters[1])
	}
	if !l.needsUsage() {
		return nil
	}
	flag := fmt.Sprintf("--%s=%s", l.filters[0], l.window.Label)
	switch {
	case !usage:
		return fmt.Errorf("%s needs --collector.usage, which reads who used the product", flag)
	case l.window.Length%(24*time.Hour) != 0:
		return fmt.Errorf("%s: not a window of whole days, and the analytics tell of nothing else", flag)
	}
	return nil
}

func (l *memberList) needsUsage() bool {
	return len(l.filters) > 0 && (l.filters[0] == "used" || l.filters[0] == "unused")
}

// contains reports whether a member is to be printed. The first window is that of the
// filter.
func (l *memberList) contains(in collector.Membership) bool {
	if l.neverSignedIn {
		return in.NeverSignedIn
	}
	if len(l.filters) == 0 {
		return true
	}
	window := in.Windows[0]
	switch l.filters[0] {
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

// member is one line of the list.
type member struct {
	id, email       string
	created, signIn factoryapi.Timestamp
	attributes      []string
	lastUsed        factoryapi.Day
}

// printMembers prints the members to stdout: all of them, or nothing and an error. On a
// terminal, stderr shows how far it is.
func printMembers(ctx context.Context, cfg *config, api factoryapi.Config, stdout, stderr io.Writer) error {
	client, err := factoryapi.New(api)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	progress := newProgress(stderr)
	members, err := readMembers(ctx, cfg, client, progress)
	progress.clear()
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped before the list was complete")
	}
	if err != nil {
		return err
	}
	slices.SortFunc(members, compareMembers)
	var list bytes.Buffer
	if err := writeMembers(&list, cfg, members); err != nil {
		return err
	}
	_, err = stdout.Write(list.Bytes())
	return err
}

// readMembers returns the members to print.
func readMembers(ctx context.Context, cfg *config, client *factoryapi.Client, progress progress) ([]member, error) {
	var members []member
	var usage *collector.Usage
	census := collector.CensusConfig{Visit: func(user *factoryapi.User, in collector.Membership) {
		if cfg.list.contains(in) {
			members = append(members, newMember(user, cfg.collector.Census.GroupBy, usage))
		}
	}}
	if len(cfg.list.filters) > 0 {
		census.Windows = []collector.Window{cfg.list.window}
	}
	if cfg.usage {
		// The column last_used looks back so far, or as far as the filter.
		census.Windows = append(census.Windows, collector.Window{Length: 90 * 24 * time.Hour})
		progress.show("Reading the analytics")
		var err error
		if usage, err = readUsage(ctx, client, census.Windows); err != nil {
			return nil, fmt.Errorf("cannot read the analytics: %w", err)
		}
	}
	if cfg.list.needsUsage() && !usage.Covers(0) {
		return nil, fmt.Errorf("--%s=%s: the window is too long, because the analytics tell of %s to %s only", cfg.list.filters[0], cfg.list.window.Label, factoryapi.FirstDay, usage.Day())
	}

	ctx, cancel := context.WithTimeout(ctx, cfg.collector.Schedule.ListingTimeout)
	defer cancel()
	counted := collector.NewCensus(census, time.Now(), usage, collector.NewRoster())
	read := 0
	for page, err := range client.Pages(ctx) {
		if err != nil {
			return nil, fmt.Errorf("cannot list the members: %w", err)
		}
		counted.Add(page.Users...)
		read += len(page.Users)
		progress.show(fmt.Sprintf("%d members read", read))
	}
	return members, nil
}

func readUsage(ctx context.Context, client *factoryapi.Client, windows []collector.Window) (*collector.Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, collector.ReadingTimeout)
	defer cancel()
	return collector.ReadUsage(ctx, client, windows, nil)
}

// newMember keeps what is printed of a user, whose text is not kept.
func newMember(user *factoryapi.User, attributes []collector.Attribute, usage *collector.Usage) member {
	m := member{
		id:      strings.Clone(user.ID),
		email:   strings.Clone(user.Email),
		created: user.CreatedAt,
		signIn:  user.LastSignInAt,
	}
	for _, attribute := range attributes {
		m.attributes = append(m.attributes, strings.Clone(attribute.Of(user)))
	}
	if usage != nil {
		m.lastUsed = usage.LastUsed(user.ID)
	}
	return m
}

// compareMembers puts those first who never signed in, then those who did not for
// longest, and those last of whom it is not known.
func compareMembers(a, b member) int {
	rank := [...]int{factoryapi.Missing: 0, factoryapi.Valid: 1, factoryapi.Invalid: 2}
	return cmp.Or(
		cmp.Compare(rank[a.signIn.State], rank[b.signIn.State]),
		a.signIn.Time.Compare(b.signIn.Time),
		cmp.Compare(a.id, b.id),
	)
}

// writeMembers writes the members in the format that cfg says.
func writeMembers(w io.Writer, cfg *config, members []member) error {
	columns := []string{"id", "email", "created", "last_sign_in"}
	for _, attribute := range cfg.collector.Census.GroupBy {
		columns = append(columns, attribute.String())
	}
	if cfg.usage {
		columns = append(columns, "last_used")
	}
	rows := func(yield func([]string) bool) {
		for _, m := range members {
			cells := append([]string{m.id, m.email, timestampCell(m.created), timestampCell(m.signIn)}, m.attributes...)
			if cfg.usage {
				cells = append(cells, dayCell(m.lastUsed))
			}
			if !yield(cells) {
				return
			}
		}
	}
	switch cfg.list.format {
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
