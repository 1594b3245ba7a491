package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"factory_exporter/factoryapi"
)

// Source tells what an organization did. [factoryapi.Client] is one.
type Source interface {
	Activity(context.Context, factoryapi.Days) (map[factoryapi.Day]factoryapi.Activity, error)
	Tokens(context.Context, factoryapi.Days) (map[factoryapi.Day]factoryapi.Tokens, error)
	CreditsByModel(context.Context, factoryapi.Days) (map[factoryapi.Day]map[string]float64, error)
	CreditLimits(context.Context) (factoryapi.CreditLimits, error)
	Usage(context.Context, factoryapi.Day) iter.Seq2[[]factoryapi.Usage, error]
}

// ReadingTimeout is how long one reading may take. With 20,000 members who work every day,
// a window of 90 days takes 18,000 requests.
const ReadingTimeout = 6 * time.Hour

const (
	// complementsTimeout is how long the numbers that may be missing are waited for.
	complementsTimeout = time.Minute
	// lookBack is how many days may end without one that is known.
	lookBack = 7
	// settling is for how many days a day is read again, because its rows may be late.
	settling = 3
	// unsettled is how many of the newest days are not believed if less than half of
	// their users have a row.
	unsettled = 2
	// MaxDaysPast is how many days ago the day of a view may be and still be shown.
	MaxDaysPast = 3
)

// Read makes one reading at the instant now: it reads the newest day that is to be
// believed, and then each older day of the longest window that is not known yet. It
// calls publish whenever more can be shown. What was known before a failure stays known,
// and the next reading goes on from there.
func (l *Ledger) Read(ctx context.Context, source Source, now time.Time, publish func(*View)) error {
	l.forget()
	due := factoryapi.DayOf(now) - 1
	r := reading{Ledger: l, source: source, due: due, publish: publish, told: map[string]bool{}}
	err := r.read(ctx)
	if r.reached == 0 && reasonOf(err) == "400" { // where the clock of the API is behind, the day before is still today there
		r.due--
		err = r.read(ctx)
	}
	if reasonOf(err) == "403" {
		err = fmt.Errorf("%w (the analytics need an Enterprise plan, and a personal API key of a Manager or Owner)", err)
	}
	return err
}

// reasonOf returns the reason of a request that failed, and nothing for another error.
func reasonOf(err error) string {
	if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
		return failure.Reason()
	}
	return ""
}

// reading is a reading under way.
type reading struct {
	*Ledger
	source  Source
	due     factoryapi.Day // the newest day that may be known
	publish func(*View)

	activity map[factoryapi.Day]factoryapi.Activity // of the newest days
	tokens   map[factoryapi.Day]factoryapi.Tokens
	reached  factoryapi.Day // the oldest day that is known to be answered
	told     map[string]bool
}

func (r *reading) read(ctx context.Context) error {
	days := factoryapi.DaysThrough(r.due, lookBack)
	days.First = max(days.First, factoryapi.FirstDay)
	if days.Last < days.First {
		return fmt.Errorf("the analytics begin on %s", factoryapi.FirstDay)
	}
	var err error
	if r.activity, err = r.source.Activity(ctx, days); err != nil {
		return fmt.Errorf("read activity: %w", err)
	}
	r.reached = days.First
	if r.tokens, err = r.source.Tokens(ctx, days); err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	day, err := r.newest(ctx, days)
	if err != nil {
		return err
	}
	if r.shown == nil || day >= r.shown.Day || r.days[r.shown.Day] == nil {
		totals, err := r.totals(ctx, day)
		if err != nil {
			return err
		}
		r.shown = totals
		r.forget()
	}
	if r.due-r.shown.Day >= MaxDaysPast {
		return fmt.Errorf("the newest day that activity, tokens and users agree on is %s", r.shown.Day)
	}
	view := r.view(nil)
	r.publish(view)
	err = r.wayBack(ctx, view)
	r.publish(r.view(nil)) // a day may have been read again
	return err
}

// newest returns the newest day that has a row in both activity and tokens, and agrees
// with the rows of its users.
func (r *reading) newest(ctx context.Context, days factoryapi.Days) (factoryapi.Day, error) {
	var wrong error
	for day := days.Last; day >= days.First; day-- {
		activity, ok := r.activity[day]
		tokens, inTokens := r.tokens[day]
		if !ok || !inTokens {
			continue
		}
		err := r.readDay(ctx, day, activity)
		if err != nil && !errors.As(err, new(*disagreement)) {
			return 0, err
		}
		_, told := worked(activity, tokens)
		if known := r.days[day]; known != nil && r.check(day, known, activity) == nil && (told || len(known.entries) > 0) {
			return day, nil
		}
		wrong = cmp.Or(wrong, err)
	}
	return 0, cmp.Or(wrong, fmt.Errorf("no day from %s has a row in both activity and tokens", days))
}

// totals returns the totals of a day. Where credits by model or limits of credits cannot
// be read, they are missing: no other number waits for them for long.
func (r *reading) totals(ctx context.Context, day factoryapi.Day) (*View, error) {
	ctx, cancel := context.WithTimeout(ctx, complementsTimeout)
	defer cancel()
	v := &View{Day: day, Activity: r.activity[day], Tokens: r.tokens[day]}
	byModel, err := r.source.CreditsByModel(ctx, factoryapi.Days{First: day, Last: day})
	sum := 0.0
	for _, credits := range byModel[day] {
		sum += credits
	}
	switch {
	case isFailure(err):
		if r.say(topic{about: "by model"}) {
			r.cfg.Logger.Warn("Cannot read the credits by model; this is logged once", "err", err)
		}
	case err != nil:
		return nil, err
	case isAbove(sum, v.Tokens.Billable, len(byModel[day])):
		if r.say(topic{about: "sum of models"}) {
			r.cfg.Logger.Warn("The models consumed more credits than the whole organization, so they are not shown; this is logged once",
				"day", day, "models", sum, "organization", v.Tokens.Billable.Value)
		}
	default:
		v.CreditsByModel = byModel[day]
	}
	v.Limits, err = r.source.CreditLimits(ctx)
	if isFailure(err) {
		r.cfg.Logger.Debug("Cannot read the limits of credits", "err", err)
		err = nil
	}
	return v, err
}

// isFailure reports whether err is a request that failed, as opposed to one that was
// canceled.
func isFailure(err error) bool { return reasonOf(err) != "" }

// isAbove reports whether the sum of so many numbers is above a total by more than they
// may be rounded.
func isAbove(sum float64, total factoryapi.Number, numbers int) bool {
	return total.Valid && sum > total.Value*1.001+float64(numbers)
}

// wayBack reads the older days of the longest window, the newest ones first. view is what
// was published last.
func (r *reading) wayBack(ctx context.Context, view *View) error {
	first := max(r.shown.Day-r.longest+1, factoryapi.FirstDay)
	for day := r.shown.Day - 1; day >= first; day-- {
		if known := r.days[day]; known != nil && known.read >= min(r.due, day+settling-1) && r.check(day, known, r.activity[day]) == nil {
			continue
		}
		err := r.readOlder(ctx, day)
		if reasonOf(err) == "400" && day < r.reached {
			return nil // the history that is kept ends here
		}
		switch {
		case err == nil:
			view = r.view(view)
			r.publish(view)
		case !errors.As(err, new(*disagreement)):
			return err
		}
	}
	return nil
}

// readOlder reads a day whose activity may not be known yet.
func (r *reading) readOlder(ctx context.Context, day factoryapi.Day) error {
	activity := r.activity
	if day <= r.due-lookBack {
		var err error
		if activity, err = r.source.Activity(ctx, factoryapi.Days{First: day, Last: day}); err != nil {
			return fmt.Errorf("read activity: %w", err)
		}
	}
	return r.readDay(ctx, day, activity[day])
}

// readDay reads who used the product on a day, unless it did so already, and keeps it if
// it agrees with activity and tokens. Its error is a *disagreement if it does not.
func (r *reading) readDay(ctx context.Context, day factoryapi.Day, activity factoryapi.Activity) error {
	if known := r.days[day]; known != nil && known.read >= r.due && r.check(day, known, activity) == nil {
		return nil
	}
	var entries []entry
	priced := true
	for rows, err := range r.source.Usage(ctx, day) {
		if err != nil {
			return fmt.Errorf("read users: %w", err)
		}
		r.reached = min(r.reached, day)
		for i := range rows {
			if r.exceeds(ctx, len(entries)+1, usersPerMember) {
				return fmt.Errorf("the analytics have more than %d rows of users on %s", len(entries), day)
			}
			user, err := r.number(ctx, rows[i].UserID)
			if err != nil {
				return err
			}
			entries = append(entries, entryOf(user, &rows[i]))
			priced = priced && rows[i].Credits.Valid && rows[i].Credits.Value <= maxCredits
		}
	}
	known := encode(entries)
	if err := r.check(day, known, activity); err != nil {
		if before := r.days[day]; before != nil && len(before.entries) == 0 { // nobody had worked, but somebody did
			delete(r.days, day)
		}
		if r.tells("disagreement", day) {
			r.cfg.Logger.Warn("Who used the product on a day is not believed", "err", err)
		}
		return err
	}
	rows := known.active
	if before := r.days[day]; before != nil { // who was once seen using the product did use it
		all := entries
		for e := range before.all() { // what was unclear stays so where no new row tells
			if _, again := slices.BinarySearchFunc(entries, e, byUser); !again || e.use&used != 0 {
				all = append(all, e)
			}
		}
		known = encode(all)
	}
	if known.active > rows && r.tells("lost", day) {
		r.cfg.Logger.Warn("A day has lost rows of users, so they are kept, and credits of users are not shown", "day", day, "rows", rows, "before", known.active)
	}
	if r.isFew(day, known, activity) && r.tells("few", day) {
		r.cfg.Logger.Warn("A day has few rows of users who worked, and is taken as it is", "day", day, "rows", known.active, "active_users", activity.Daily.Value)
	}
	known.read, known.priced = r.due, priced && known.active == rows
	if total := r.tokens[day].Billable; isAbove(float64(known.credits), total, len(entries)) {
		known.priced = false
		if r.tells("credits", day) {
			r.cfg.Logger.Warn("The users consumed more credits than the whole organization, so credits of users are not shown", "day", day, "users", known.credits, "organization", total.Value)
		}
	}
	return r.keep(ctx, day, known)
}

// check returns a *disagreement if somebody worked on a day, and users has no rows of it:
// or, on one of the newest days, few.
func (r *reading) check(day factoryapi.Day, known *record, activity factoryapi.Activity) error {
	if !r.isFew(day, known, activity) || len(known.entries) > 0 && day <= r.due-unsettled {
		return nil
	}
	told := "activity or tokens tell of work"
	if activity.Daily.Value > 0 {
		told = fmt.Sprintf("activity counts %v active users", activity.Daily.Value)
	}
	return &disagreement{fmt.Errorf("%s on %s, but users has %d", told, day, known.active)}
}

func (r *reading) isFew(day factoryapi.Day, known *record, activity factoryapi.Activity) bool {
	anybody, _ := worked(activity, r.tokens[day])
	return float64(known.active) < activity.Daily.Value/2 || anybody && known.active == 0
}

// worked reports whether anybody worked on a day, and whether the numbers tell. Where the
// number of active users is missing, others may tell.
func worked(activity factoryapi.Activity, tokens factoryapi.Tokens) (anybody, told bool) {
	if activity.Daily.Valid {
		return activity.Daily.Value > 0, true
	}
	for _, n := range [...]factoryapi.Number{activity.Sessions, activity.Messages, activity.UserMessages, tokens.Billable} {
		anybody, told = anybody || n.Value > 0, told || n.Valid
	}
	return anybody, told
}

// disagreement is a day on which activity and users contradict each other.
type disagreement struct{ error }

// tells reports whether a day is worth a line in the log about something: once for the
// day, once in a reading, and not while the day is the newest one, whose rows are often
// late.
func (r *reading) tells(about string, day factoryapi.Day) bool {
	if day == r.due || !r.say(topic{about, day}) || r.told[about] {
		return false
	}
	r.told[about] = true
	return true
}
