package factoryapi_test

import (
	"testing"
	"time"

	"factory_exporter/factoryapi"
)

func TestDays(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 1, 14, 0, 0, 0, 0, time.UTC), "2026-01-14"},
		{time.Date(2026, 1, 13, 23, 59, 59, 999_999_999, time.UTC), "2026-01-13"},
		{time.Date(2026, 1, 14, 1, 0, 0, 0, time.FixedZone("", 2*60*60)), "2026-01-13"},
		{time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), "2024-02-29"},
		{time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC), "1969-12-31"},
	} {
		day := factoryapi.DayOf(tt.at)
		if day.String() != tt.want {
			t.Errorf("%s is on %s, want %s", tt.at, day, tt.want)
		}
		if back := factoryapi.DayOf(day.Start()); back != day {
			t.Errorf("%s begins on %s", day, back)
		}
		if got := factoryapi.ParseDay(tt.want); got != day {
			t.Errorf("%q is read as %s", tt.want, got)
		}
	}
	if got := factoryapi.FirstDay.String(); got != "2026-01-14" {
		t.Errorf("the first day of the analytics is %s", got)
	}
}

func TestTextThatIsNotADay(t *testing.T) {
	for _, text := range []string{"", "2026-1-14", "2026-02-30", "2026-01-14T00:00:00Z", "14.1.2026"} {
		if got := factoryapi.ParseDay(text); got != 0 {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}

func TestRangesOfDays(t *testing.T) {
	last := factoryapi.ParseDay("2026-03-02")
	for n, want := range map[int]string{1: "2026-03-02", 7: "2026-02-24 to 2026-03-02"} {
		days := factoryapi.DaysThrough(last, n)
		if days.String() != want {
			t.Errorf("%d days through %s are %s, want %s", n, last, days, want)
		}
	}
}
