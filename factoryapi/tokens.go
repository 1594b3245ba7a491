package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const maxModels = 1000

// Tokens is what the whole organization consumed on a day.
type Tokens struct {
	// Billable are Factory Standard Credits.
	Billable Number
	// Input, Output, CacheRead and CacheWrite are raw tokens.
	Input, Output, CacheRead, CacheWrite Number
}

// Tokens returns the tokens of each of the days that the API knows of. Errors are those
// of Pages.
func (c *Client) Tokens(ctx context.Context, days Days) (map[Day]Tokens, error) {
	return byDay(ctx, c, "tokens", days, (*walker).tokens)
}

func (w *walker) tokens(days Days, t *Tokens) (Day, error) {
	return w.dayRow(days, map[string]*Number{
		"billable_tokens": &t.Billable, "input_tokens": &t.Input, "output_tokens": &t.Output,
		"cache_read_tokens": &t.CacheRead, "cache_write_tokens": &t.CacheWrite,
	}, func(string) error { return nil })
}

// CreditsByModel returns the Factory Standard Credits of each day by the model that they
// were consumed with. Errors are those of Pages.
func (c *Client) CreditsByModel(ctx context.Context, days Days) (map[Day]map[string]float64, error) {
	credits := map[Day]map[string]float64{}
	err := c.rowsOf(ctx, c.analyticsURL("tokens", days, "group_by", "model"), days, func(w *walker) error {
		var model string
		var billable Number
		day, err := w.dayRow(days, map[string]*Number{"billable_tokens": &billable}, func(name string) error {
			if name == "group_key" {
				model, _ = w.str()
			}
			return nil
		})
		if credits[day] == nil {
			credits[day] = map[string]float64{}
		}
		switch {
		case err != nil:
			return err
		case model == "":
			return errors.New("has no \"group_key\"")
		case len(credits[day]) == maxModels:
			return fmt.Errorf("is of more than %d models", maxModels)
		case billable.Valid:
			credits[day][strings.Clone(model)] += billable.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return credits, nil
}
