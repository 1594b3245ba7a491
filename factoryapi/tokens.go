package factoryapi

import "context"

// Tokens is what the whole organization consumed on a day.
type Tokens struct {
	Day Day
	// Billable are Factory Standard Credits.
	Billable Number
	// Input, Output, CacheRead and CacheWrite are raw tokens.
	Input, Output, CacheRead, CacheWrite Number
}

// Tokens returns a row for each of the days that the API knows of, in the API's order.
// Errors are those of ListUsers.
func (c *Client) Tokens(ctx context.Context, days Days) ([]Tokens, error) {
	return dailyRows(ctx, c, "tokens", days, (*walker).tokens)
}

func (w *walker) tokens(t *Tokens) error {
	err := w.fields(func(name string) error {
		switch name {
		case "date":
			t.Day = w.day()
		case "billable_tokens":
			return w.number(&t.Billable)
		case "input_tokens":
			return w.number(&t.Input)
		case "output_tokens":
			return w.number(&t.Output)
		case "cache_read_tokens":
			return w.number(&t.CacheRead)
		case "cache_write_tokens":
			return w.number(&t.CacheWrite)
		}
		return nil
	})
	if err == nil && t.Day == 0 {
		return errNoDate
	}
	return err
}
