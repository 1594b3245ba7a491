package factoryapi

import (
	"context"
	"errors"
)

// limitsEndpoint tells the limits of credits. Its requests are observed as those of the
// analytics, which say how much of the limits was consumed.
const limitsEndpoint = "api/v0/organization/usage/limits/users"

// CreditLimits are the limits of Factory Standard Credits that an organization has set.
type CreditLimits struct {
	// Global is the limit of each user who has none of their own. It is not Valid if none
	// is set.
	Global Number
	// OfUsers is how many users have a limit of their own.
	OfUsers Number
}

// CreditLimits returns the limits of credits. Errors are those of Pages.
func (c *Client) CreditLimits(ctx context.Context) (CreditLimits, error) {
	answer, err := c.newChain(ctx, AnalyticsEndpoint).ask(ctx, c.base.JoinPath(limitsEndpoint))
	if err != nil {
		return CreditLimits{}, err
	}
	limits, err := decodeLimits(answer.body)
	if err = answer.judge(err); err != nil {
		return CreditLimits{}, err
	}
	return limits, nil
}

// decodeLimits reads the body of a 200. The addresses in it are skipped.
func decodeLimits(body []byte) (l CreditLimits, err error) {
	w, err := newWalker(body)
	if err != nil {
		return l, err
	}
	hasGlobal, hasUsers := false, false
	for name := range w.names() {
		switch name {
		case "globalLimit":
			hasGlobal = true
			err = w.number(&l.Global)
		case "userLimits":
			hasUsers = w.peek() == '['
			for range w.elements() {
				l.OfUsers.Value++
			}
			l.OfUsers.Valid = hasUsers
		}
	}
	switch {
	case err != nil:
		return l, errors.New("\"globalLimit\" " + err.Error())
	case !hasGlobal && !hasUsers:
		return l, errors.New("JSON without \"globalLimit\" and without an array \"userLimits\"")
	}
	return l, nil
}
