package factoryapi

import (
	"math"
	"time"
)

// Day is a day in UTC, as the number of days since 1970-01-01. Zero stands for a day
// that is not known.
type Day int

// FirstDay is the first day that the analytics know of: 2026-01-14, as their reference
// says.
const FirstDay Day = 20467

const secondsPerDay = 24 * 60 * 60

// DayOf returns the day that t is in.
func DayOf(t time.Time) Day {
	return Day(math.Floor(float64(t.Unix()) / secondsPerDay))
}

// Start returns the instant at which the day begins.
func (d Day) Start() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// dayForm is a day as the API writes it.
const dayForm = "2026-01-14"

// String returns the day as the API writes it, like 2026-01-14.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// parseDay reads a day as String writes it. It returns zero for anything else.
func parseDay(text string) Day {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0
	}
	return DayOf(t)
}

// Days is a range of days, both ends included.
type Days struct{ First, Last Day }

// DaysThrough returns the n days that end with last.
func DaysThrough(last Day, n int) Days { return Days{last - Day(n) + 1, last} }

// String returns "2026-01-14 to 2026-01-20", or one day if both ends are the same.
func (d Days) String() string {
	if d.First == d.Last {
		return d.First.String()
	}
	return d.First.String() + " to " + d.Last.String()
}
