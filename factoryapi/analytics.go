package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// AnalyticsEndpoint is what the endpoints of the analytics are below, which is itself
// below the base URL. The analytics tell of whole days in UTC, from FirstDay through
// yesterday.
const AnalyticsEndpoint = "api/v1/analytics"

// Number is a number of the analytics. It is not Valid if the API did not tell it: the
// field was absent or null.
type Number struct {
	Value float64
	Valid bool
}

// analyticsURL returns the URL that asks an endpoint for a range of days.
func (c *Client) analyticsURL(endpoint string, days Days) *url.URL {
	u := c.base.JoinPath(AnalyticsEndpoint, endpoint)
	u.RawQuery = url.Values{"startDate": {days.First.String()}, "endDate": {days.Last.String()}}.Encode()
	return u
}

// dailyRows asks an endpoint that has one row a day.
func dailyRows[T any](ctx context.Context, c *Client, endpoint string, days Days, read func(*walker, *T) error) ([]T, error) {
	answer, err := c.newChain(ctx, AnalyticsEndpoint).ask(ctx, c.analyticsURL(endpoint, days))
	if err != nil {
		return nil, err
	}
	rows, _, err := decodeRows(answer.body, days, nil, read)
	return rows, answer.judge(err)
}

// decodeRows reads the body of a 200 that answers for a range of days, and puts its
// rows into the memory of the empty slice memory. The error of read says what a row is
// or lacks.
func decodeRows[T any](body []byte, days Days, memory []T, read func(*walker, *T) error) (rows []T, next end, err error) {
	w, err := newWalker(body)
	if err != nil {
		return nil, end{}, err
	}
	hasData, answered := false, days
	for name := range w.members() {
		switch name {
		case "data":
			hasData = w.peek() == '['
			rows, err = elements(w, memory, "row", read)
		case "meta":
			meta := *w // to look at the object twice
			next = meta.end("has_more", "next_cursor")
			for name := range w.members() {
				switch name {
				case "start_date":
					answered.First = w.day()
				case "end_date":
					answered.Last = w.day()
				}
			}
		}
	}
	// A range that the API cut silently would make people look as if they did nothing.
	// Dates that are not written like those that were sent say nothing of that.
	cut := answered.First != 0 && answered.First != days.First || answered.Last != 0 && answered.Last != days.Last
	switch {
	case !hasData:
		return nil, end{}, errors.New("JSON without an array \"data\"")
	case err != nil:
		return nil, end{}, err
	case cut:
		return nil, end{}, fmt.Errorf("answer is for %s, but %s was asked for", answered, days)
	}
	return rows, next, nil
}

// fields calls read with the name of each field of the row at hand. The error of read
// says what is wrong with the value.
func (w *walker) fields(read func(name string) error) (err error) {
	if w.peek() != '{' {
		return errors.New("is not an object")
	}
	for name := range w.members() {
		if fieldErr := read(name); fieldErr != nil && err == nil {
			err = fmt.Errorf("has a %q that %w", name, fieldErr)
		}
	}
	return err
}

// number reads the value at hand, a number or null.
func (w *walker) number(n *Number) error {
	text := w.skip()
	if text == "null" {
		*n = Number{}
		return nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errors.New("is not a number")
	}
	*n = Number{value, true}
	return nil
}

// day reads the value at hand, which is zero if it is not a day.
func (w *walker) day() Day {
	text, _ := w.str()
	return parseDay(text)
}

// errNoDate says what a row lacks that tells of a day.
var errNoDate = errors.New("has no \"date\" like 2026-01-14")
