// Package check asks the API once what the exporter would ask, and tells what it found.
// What it tells has nothing of any member.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// Options say what the exporter would ask for.
type Options struct {
	Windows        []census.Window
	GroupBy        []census.Attribute
	ListingTimeout time.Duration // of each part
	Usage          bool          // read the analytics
}

// report is a check under way.
type report struct {
	Options
	client    *factoryapi.Client
	out       io.Writer
	stop      context.CancelCauseFunc
	title     string // of the lines that follow
	unwritten error  // why a line could not be written
	answers   answers
	failed    bool
}

// Print asks the API and tells on stdout what it found. Its error says that the exporter
// would not work, or that the check was interrupted.
func Print(ctx context.Context, api factoryapi.Config, options Options, stdout io.Writer) error {
	r := &report{Options: options, out: stdout, answers: answers{fields: map[string]*fields{}, metadata: map[string]*values{}, seed: maphash.MakeSeed()}}
	api.Body = r.answers.read
	var err error
	if r.client, err = factoryapi.New(api); err != nil {
		return err
	}
	defer r.client.CloseIdleConnections()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)

	r.line("Version", "%s", api.UserAgent)
	r.line("URL", "%s", cmp.Or(api.URL, factoryapi.DefaultURL))
	r.line("Key", "%d characters, from %s", len(api.Credentials.Key(ctx)), api.Credentials)
	ids, listed := r.users(ctx)
	if r.Usage {
		r.usage(ctx, ids, listed, api.Logger)
	}
	r.answers.tell(r)
	result := "the exporter works with these flags"
	if r.failed {
		result = "the exporter does not work with these flags"
		err = errors.New(result)
	}
	if ctx.Err() == nil {
		r.line("Result", "%s", result)
	}
	switch {
	case errors.Is(context.Cause(ctx), syscall.EPIPE): // nobody reads any more, which is no error
		return nil
	case ctx.Err() != nil:
		return errors.New("stopped before the check was complete")
	}
	return cmp.Or(err, r.unwritten)
}

// line writes a line. Lines of the same title belong together.
func (r *report) line(title, format string, values ...any) {
	if title == r.title {
		title = ""
	} else {
		r.title = title
	}
	_, err := fmt.Fprintf(r.out, "%-12s%s\n", title, hide(fmt.Sprintf(format, values...)))
	switch {
	case errors.Is(err, syscall.EPIPE):
		r.stop(err)
	case err != nil:
		r.unwritten = fmt.Errorf("cannot write what was found: %w", err)
	}
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// fail tells of an error and what it means.
func (r *report) fail(title, what string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.failed = true
	r.line(title, "%s: %s", what, err)
	if meaning := meaningOf(err); meaning != "" {
		r.line(title, "%s", meaning)
	}
}

// users lists the members, and returns their ids if usage needs them.
func (r *report) users(ctx context.Context) (ids []string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, r.ListingTimeout)
	defer cancel()
	start, pages := time.Now(), 0
	cfg := census.Config{GroupBy: r.GroupBy}
	if r.Usage {
		cfg.Visit = func(u *factoryapi.User, _ census.Membership) { ids = append(ids, strings.Clone(u.ID)) }
	}
	counting := census.New(cfg, start, nil, nil)
	for page, err := range r.client.Pages(ctx) {
		if err != nil {
			r.fail("Members", fmt.Sprintf("page %d cannot be read", pages+1), err)
			return nil, false
		}
		pages++
		counting.Add(page...)
	}
	counts := counting.Counts()
	r.line("Members", "%d on %s, read in %s; %d have signed in, %d never did", counts.Users, count(pages, "page"), time.Since(start).Round(time.Millisecond), counts.SignInAges.Count, counts.NeverSignedIn)
	if counts.Duplicates > 0 {
		r.line("Members", "%s came twice: the list shifted while it was read", count(counts.Duplicates, "id"))
	}
	if counts.InvalidCreatedAt+counts.InvalidLastSignInAt > 0 {
		r.line("Members", "timestamps that cannot be read: %d createdAt, %d lastSignInAt", counts.InvalidCreatedAt, counts.InvalidLastSignInAt)
	}
	r.answers.tellMetadata(r)
	for _, attribute := range r.GroupBy {
		none := 0
		for _, group := range counts.Groups {
			if group.Attribute == attribute.String() && group.Value == census.NoValue {
				none = group.Users
			}
		}
		hint := ""
		if other, ok := counts.OtherCase[attribute]; ok {
			hint = fmt.Sprintf("; there is %s", other)
		}
		r.line("Group by", "%s: %d of %d members have no value%s", attribute, none, counts.Users, hint)
	}
	return ids, true
}

// usage reads the newest day, and those of the week before it while no user of the analytics
// is a member: perhaps only a service account worked.
func (r *report) usage(ctx context.Context, ids []string, listed bool, logger *slog.Logger) {
	ledger := usage.NewLedger(usage.Config{Windows: []int{1, 2, 3, 4, 5, 6, 7}, Members: func(context.Context) int { return 1_000_000 }, Logger: logger})
	reading, enough := context.WithTimeout(ctx, r.ListingTimeout)
	defer enough()
	members := func(v *usage.View) (known int) {
		for _, id := range ids {
			if v.Of(id).Known() {
				known++
			}
		}
		return known
	}
	var newest *usage.View
	joined := false
	err := ledger.Read(reading, r.client, time.Now(), func(v *usage.View) {
		newest = cmp.Or(newest, v)
		if joined = members(v) > 0 || v.Users == 0 || !listed; joined {
			enough()
		}
	})
	switch {
	case err != nil && !joined:
		r.fail("Usage", "the analytics cannot be read", err)
		return
	case !listed:
		return
	}
	r.line("Usage", "newest day %s: users that activity counts: %s, that have a row: %d, and that are members: %d", newest.Day, known(newest.Activity.Daily), newest.Users, members(newest))
	if !joined {
		r.fail("Usage", "members cannot be joined", errors.New("the ids of the analytics are not those of the members"))
	}
	r.reach(ctx, newest.Day)
	r.line("Credits", "limit of each user, if any: %s; users with a limit of their own: %s", known(newest.Limits.Global), known(newest.Limits.OfUsers))
}

func known(n factoryapi.Number) string {
	if !n.Valid {
		return "unknown"
	}
	return fmt.Sprintf("%.0f", n.Value)
}

// reach tells which windows the analytics reach back for. It looks for the first day that
// they answer for.
func (r *report) reach(ctx context.Context, newest factoryapi.Day) {
	ctx, cancel := context.WithTimeout(ctx, r.ListingTimeout)
	defer cancel()
	longest := 1
	for _, window := range r.Windows {
		longest = max(longest, window.Days())
	}
	first := max(newest-factoryapi.Day(longest)+1, factoryapi.FirstDay)
	answered, day := newest, first
	for first < answered {
		var err error
		for _, err = range r.client.Usage(ctx, day) {
			break // the first page tells
		}
		failure, refused := errors.AsType[*factoryapi.Error](err)
		switch {
		case err == nil:
			answered = day
		case refused && failure.StatusCode == 400:
			first = day + 1
		default:
			r.fail("Usage", "it is not known how far the days reach back", err)
			return
		}
		day = first + (answered-first)/2
	}
	var tooLong []string
	for _, window := range r.Windows {
		if window.Days() == 0 || newest-factoryapi.Day(window.Days())+1 < answered {
			tooLong = append(tooLong, window.Label)
		}
	}
	r.line("Usage", "days are answered back to %s at least", answered)
	if len(tooLong) > 0 {
		r.line("Usage", "windows without used and unused, because they are longer or not of whole days: %s", strings.Join(tooLong, ", "))
	}
}
