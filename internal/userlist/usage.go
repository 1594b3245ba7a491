package userlist

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"factory_exporter/collector/census"
	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
)

// windows returns the windows to count in, and how many days of use each of them needs:
// those of the filters in their order, and where none of these needs any, the one of the
// columns.
func (l *List) windows() (windows []census.Window, days []int) {
	needed := 0
	for _, filter := range l.Filters {
		n := 0
		if filter.NeedsUsage() {
			n = filter.Window.Days()
		}
		windows, days, needed = append(windows, filter.Window), append(days, n), max(needed, n)
	}
	if l.Usage && needed == 0 {
		const columns = 30
		windows, days = append(windows, census.Window{Length: columns * 24 * time.Hour}), append(days, columns)
	}
	return windows, days
}

// readUsage reads the days of use that the windows need, and no more. It returns nil if the
// analytics are not to be read.
func (l *List) readUsage(ctx context.Context, client *factoryapi.Client, logger *slog.Logger, progress progress) (view *usage.View, err error) {
	if !l.Usage {
		return nil, nil
	}
	_, days := l.windows()
	ctx, cancel := context.WithTimeout(ctx, usage.ReadingTimeout)
	defer cancel()
	progress.show("Reading the analytics")
	// A list may be as large as an organization.
	members := func(context.Context) int { return 1_000_000 }
	err = usage.NewLedger(usage.Config{Windows: days, Members: members, Logger: logger}).Read(ctx, client, time.Now(), func(v *usage.View) {
		view = v
		progress.show(fmt.Sprintf("%d days of use read", v.KnownDays))
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the analytics: %w", err)
	}
	for i, filter := range l.Filters {
		if filter.NeedsUsage() && !view.Covers(i) {
			return nil, fmt.Errorf("%s: the analytics tell of %s to %s only", filter, view.Day-factoryapi.Day(view.KnownDays)+1, view.Day)
		}
	}
	return view, nil
}

// credits returns what a user consumed in the longest window. It is empty if that is not
// known.
func credits(view *usage.View, user usage.User) string {
	longest := view.Longest()
	if longest < 0 || !view.Windows[longest].Priced {
		return ""
	}
	return strconv.FormatUint(user.In(longest).Credits, 10)
}
