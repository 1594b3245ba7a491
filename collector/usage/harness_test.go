package usage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// noon of a day, written 2026-01-14.
func noon(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err) // it stands in a test
	}
	return t.Add(12 * time.Hour)
}

// days returns the n days that end with last.
func days(last string, n int) (days []string) {
	for i := range n {
		days = append(days, noon(last).AddDate(0, 0, i-n+1).Format(time.DateOnly))
	}
	return days
}

// work is what everybody does on a day.
func work() fakeapi.Work {
	return fakeapi.Work{Clients: []string{"web"}, Sessions: 1, UserMessages: 2, ToolCalls: 3, Model: "plain", BillableTokens: 1000}
}

// everyDay are so many users who work every day.
func everyDay(n int) (workers []fakeapi.UserWork) {
	for i := range n {
		workers = append(workers, fakeapi.UserWork{ID: fmt.Sprint("user_", i), On: func(time.Time) (fakeapi.Work, bool) { return work(), true }})
	}
	return workers
}

// world is a ledger of a fake API.
type world struct {
	analytics *fakeapi.Analytics
	api       *fakeapi.Server
	source    *factoryapi.Client
	ledger    *usage.Ledger
	config    usage.Config
	clock     time.Time // of the API
	views     []*usage.View
	log       *harness.Log
}

func newWorld(t testing.TB, workers ...fakeapi.UserWork) *world {
	t.Helper()
	w := &world{analytics: fakeapi.NewAnalytics(workers...), api: fakeapi.NewServer(fakeapi.NewOrganization(), harness.Key), log: new(harness.Log)}
	w.analytics.Now = func() time.Time { return w.clock }
	w.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
	w.api.SetAnalytics(w.analytics)
	w.source = harness.Client(t, w.api, factoryapi.Config{})
	w.config = usage.Config{Windows: []int{1, 7, 30, 90}, Logger: w.log.Logger()}
	w.restart()
	return w
}

// restart forgets everything.
func (w *world) restart() { w.ledger = usage.NewLedger(w.config) }

// read makes a reading at an instant, and remembers the views.
func (w *world) read(ctx context.Context, now time.Time) error {
	w.clock = now
	return w.ledger.Read(ctx, w.source, now, func(v *usage.View) { w.views = append(w.views, v) })
}

// mustRead is a reading that succeeds. It returns the newest view and the number of
// requests.
func (w *world) mustRead(t testing.TB, now time.Time) (*usage.View, int) {
	t.Helper()
	before := w.api.Stats().Requests
	if err := w.read(t.Context(), now); err != nil {
		t.Fatalf("%s: %v", now, err)
	}
	return w.last(), w.api.Stats().Requests - before
}

func (w *world) last() *usage.View {
	if len(w.views) == 0 {
		return nil
	}
	return w.views[len(w.views)-1]
}

// usersFail spoils the rows of users on one day.
func (w *world) usersFail(day string, serve fakeapi.Behavior) {
	w.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + "users", Serve: fakeapi.OnDay(day, serve)})
}

// shown tells a view in short: the day, how many days are known, the covered windows.
func shown(v *usage.View) string {
	if v == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%s, %d known", v.Day, v.KnownDays)
	for i, length := range []int{1, 7, 30, 90} {
		if v.Covers(i) {
			text += fmt.Sprintf(", %dd", length)
		}
	}
	return text
}
