package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// AnalyticsEndpoint is what the endpoints of the analytics are below, which is itself
// below the base URL. The analytics tell of whole days in UTC, from FirstDay through
// yesterday.
const AnalyticsEndpoint = "api/v1/analytics"

// Number is a number of the analytics, which is never below zero. It is not Valid if the
// API did not tell it: the field was absent or null.
type Number struct {
	Value float64
	Valid bool
}

// maxNumber bounds a Number. JSON does not promise that larger whole numbers arrive as
// they were sent.
const maxNumber = 1 << 53

// analyticsURL returns the URL that asks an endpoint for a range of days. options are the
// names and values of further parameters, in turns.
func (c *Client) analyticsURL(endpoint string, days Days, options ...string) *url.URL {
	query := url.Values{"startDate": {days.First.String()}, "endDate": {days.Last.String()}}
	for i := 0; i < len(options); i += 2 {
		query.Set(options[i], options[i+1])
	}
	u := c.base.JoinPath(AnalyticsEndpoint, endpoint)
	u.RawQuery = query.Encode()
	return u
}

// analyticsForm is the form of an answer for a range of days.
func analyticsForm(days Days) form {
	return form{array: "data", element: "row", about: "meta", hasMore: "has_more", days: days}
}

// rowsOf asks an endpoint without pages for a range of days. add reads each row of the
// answer, and its error says what the row is or lacks.
func (c *Client) rowsOf(ctx context.Context, u *url.URL, days Days, add func(*walker) error) error {
	answer, err := c.newChain(ctx, AnalyticsEndpoint).ask(ctx, u)
	if err != nil {
		return err
	}
	_, _, err = decode(answer.body, analyticsForm(days), nil, func(w *walker, _ *struct{}) error { return add(w) })
	return answer.judge(err)
}

// byDay asks an endpoint that has one row a day.
func byDay[T any](ctx context.Context, c *Client, endpoint string, days Days, read func(*walker, Days, *T) (Day, error)) (map[Day]T, error) {
	rows := map[Day]T{}
	err := c.rowsOf(ctx, c.analyticsURL(endpoint, days), days, func(w *walker) error {
		var row T
		day, err := read(w, days, &row)
		if _, twice := rows[day]; twice && err == nil {
			err = fmt.Errorf("is a second one of %s", day)
		}
		rows[day] = row
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// fields calls read with the name of each field of the row at hand. The error of read
// says what is wrong with the value. fields returns the row's day, which is in the range
// that was asked for; it is zero if the row does not tell it.
func (w *walker) fields(days Days, read func(name string) error) (day Day, err error) {
	if w.peek() != '{' {
		return 0, errors.New("is not an object")
	}
	for name := range w.names() {
		var wrong error
		if name == "date" {
			day, wrong = w.date(days)
		} else {
			wrong = read(name)
		}
		if wrong != nil && err == nil {
			err = fmt.Errorf("has a %q that %w", name, wrong)
		}
	}
	return day, err
}

// date reads the value at hand: null, a day in the range, or a timestamp on such a day.
func (w *walker) date(days Days) (Day, error) {
	text, ok := w.str()
	if !ok && w.skip() == "null" {
		return 0, nil
	}
	if len(text) > len(dayForm) && text[len(dayForm)] == 'T' {
		text = text[:len(dayForm)]
	}
	switch day := parseDay(text); {
	case day == 0:
		return 0, errors.New("is not a day like " + dayForm)
	case day < days.First || day > days.Last:
		return 0, fmt.Errorf("is %s, but %s was asked for", day, days)
	default:
		return day, nil
	}
}

// dayRow reads the row at hand, which tells of one day of several. It has numbers, and
// what other reads.
func (w *walker) dayRow(days Days, numbers map[string]*Number, other func(name string) error) (Day, error) {
	day, err := w.fields(days, func(name string) error {
		if n, ok := numbers[name]; ok {
			return w.number(n)
		}
		return other(name)
	})
	if err == nil && day == 0 {
		err = errors.New("has no \"date\"")
	}
	return day, err
}

// number reads the value at hand, a number or null.
func (w *walker) number(n *Number) error {
	*n = Number{}
	text := w.skip()
	if text == "null" {
		return nil
	}
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case value > maxNumber:
		return fmt.Errorf("is larger than %d", int64(maxNumber))
	case err != nil:
		return errors.New("is not a number")
	case value < 0:
		return errors.New("is below zero")
	}
	*n = Number{value, true}
	return nil
}

// numbers reads the value at hand, an object of at most max numbers, and leaves out what
// is null.
func (w *walker) numbers(max int) (map[string]float64, error) {
	numbers := map[string]float64{}
	object := walker{text: w.skip(), plain: w.plain}
	for name := range object.names() {
		var n Number
		if err := object.number(&n); err != nil {
			return nil, err
		}
		if n.Valid {
			numbers[strings.Clone(name)] = n.Value
		}
		if len(numbers) > max {
			return nil, fmt.Errorf("has more than %d names", max)
		}
	}
	return numbers, nil
}
