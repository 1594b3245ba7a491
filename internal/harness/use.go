package harness

import (
	"context"
	"iter"
	"strconv"

	"factory_exporter/factoryapi"
)

// Use is a usage.Source with so many rows of users on each day, whose ids repeat after so
// many, without a network.
type Use struct {
	Rows, IDs int
	OfDay     bool // each day has ids of its own
	Credits   float64
}

// Activity tells of the last day alone.
func (Use) Activity(_ context.Context, days factoryapi.Days) (map[factoryapi.Day]factoryapi.Activity, error) {
	return map[factoryapi.Day]factoryapi.Activity{days.Last: {}}, nil
}

// Tokens tells of the last day alone.
func (Use) Tokens(_ context.Context, days factoryapi.Days) (map[factoryapi.Day]factoryapi.Tokens, error) {
	return map[factoryapi.Day]factoryapi.Tokens{days.Last: {}}, nil
}

// CreditsByModel tells nothing.
func (Use) CreditsByModel(context.Context, factoryapi.Days) (map[factoryapi.Day]map[string]float64, error) {
	return nil, nil
}

// CreditLimits tells nothing.
func (Use) CreditLimits(context.Context) (factoryapi.CreditLimits, error) {
	return factoryapi.CreditLimits{}, nil
}

// Usage yields a row at a time.
func (u Use) Usage(_ context.Context, day factoryapi.Day) iter.Seq2[[]factoryapi.Usage, error] {
	return func(yield func([]factoryapi.Usage, error) bool) {
		prefix := ""
		if u.OfDay {
			prefix = day.String()
		}
		one := factoryapi.Number{Value: 1, Valid: true}
		for i := range u.Rows {
			row := factoryapi.Usage{UserID: prefix + strconv.Itoa(i%u.IDs), Sessions: one, Credits: factoryapi.Number{Value: u.Credits, Valid: true}}
			if !yield([]factoryapi.Usage{row}, nil) {
				return
			}
		}
	}
}
