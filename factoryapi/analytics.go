package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// analyticsPath is below the base URL, and each endpoint of the analytics is below it.
// The analytics tell of whole days in UTC, from FirstDay through yesterday.
const analyticsPath = "api/v1/analytics"

// maxRows bounds the rows of one answer of the analytics.
const maxRows = 1 << 16

// Number is a number of the analytics. It is not Valid if the API did not tell it: the
// field was absent or null.
type Number struct {
	Value float64
	Valid bool
}

// analyticsURL returns the URL that asks an endpoint for a range of days.
func (c *Client) analyticsURL(endpoint string, days Days) *url.URL {
	u := c.base.JoinPath(analyticsPath, endpoint)
	u.RawQuery = url.Values{"startDate": {days.First.String()}, "endDate": {days.Last.String()}}.Encode()
	return u
}

// dailyRows asks an endpoint that has one row a day.
func dailyRows[T any](ctx context.Context, c *Client, endpoint string, days Days, read func(*walker, *T) error) ([]T, error) {
	var rows []T
	err := c.newChain(ctx).get(ctx, c.analyticsURL(endpoint, days), func(body []byte) (err error) {
		rows, _, err = decodeRows(body, days, nil, read)
		return err
	})
	return rows, err
}

// rowsMeta is what an answer says of its rows.
type rowsMeta struct {
	tellsMore, hasMore bool
	nextCursor         string
}

// decodeRows reads the body of a 200 that answers for a range of days, and puts its
// rows into the memory of the empty slice memory. The error of read says what a row is
// or lacks.
func decodeRows[T any](body []byte, days Days, memory []T, read func(*walker, *T) error) (rows []T, meta rowsMeta, err error) {
	w, err := newWalker(body)
	if err != nil {
		return nil, meta, err
	}
	var rowErr error // in the rows
	hasData, answered := false, days
	for name := range w.members() {
		switch name {
		case "data":
			hasData = w.peek() == '['
			rows, rowErr = memory, nil
			for range w.elements() {
				if len(rows) == maxRows {
					return nil, meta, fmt.Errorf("answer has more than %d rows", maxRows)
				}
				rows = append(rows, *new(T))
				n := len(rows)
				if err := read(w, &rows[n-1]); err != nil && rowErr == nil {
					rowErr = fmt.Errorf("row %d of the answer %w", n, err)
				}
			}
		case "meta":
			for name := range w.members() {
				switch name {
				case "start_date":
					answered.First = w.day()
				case "end_date":
					answered.Last = w.day()
				case "has_more":
					value := w.skip()
					meta.hasMore, meta.tellsMore = value == "true", value == "true" || value == "false"
				case "next_cursor":
					cursor, _ := w.str()
					meta.nextCursor = strings.Clone(cursor)
				}
			}
		}
	}
	// A range that the API cut silently would make people look as if they did nothing.
	// Dates that are not written like those that were sent say nothing of that.
	cut := answered.First != 0 && answered.First != days.First || answered.Last != 0 && answered.Last != days.Last
	switch {
	case !hasData:
		return nil, meta, errors.New("JSON without an array \"data\"")
	case rowErr != nil:
		return nil, meta, rowErr
	case cut:
		return nil, meta, fmt.Errorf("answer is for %s, but %s was asked for", answered, days)
	}
	return rows, meta, nil
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
	return ParseDay(text)
}

// errNoDate says what a row lacks that tells of a day.
var errNoDate = errors.New("has no \"date\" like 2026-01-14")
