package factoryapi

import (
	"context"
	"errors"
	"iter"
)

// Usage is what one user did on a day. Its text shares memory with that of its page.
type Usage struct {
	// UserID is the id that the user has in the list of members. It is never empty.
	UserID string
	// Sessions, Messages and ToolCalls are missing if the API sent null. At least one
	// field is there.
	Sessions, Messages, ToolCalls Number
	// Credits are Factory Standard Credits.
	Credits Number
}

// Usage yields pages of what each user did on a day. The rows of a page are overwritten
// by those of the next. Errors are as in Pages.
func (c *Client) Usage(ctx context.Context, day Day) iter.Seq2[[]Usage, error] {
	days := Days{day, day}
	form := analyticsForm(days)
	form.cursor = "next_cursor"
	return pages(ctx, c, c.analyticsURL("users", days), AnalyticsEndpoint, form, func(w *walker, u *Usage) error { return w.usage(days, u) })
}

func (w *walker) usage(days Days, u *Usage) error {
	told := false
	_, err := w.fields(days, func(name string) error {
		switch name {
		case "user_id":
			u.UserID, _ = w.str()
		case "sessions":
			told = true
			return w.number(&u.Sessions)
		case "messages":
			told = true
			return w.number(&u.Messages)
		case "tool_calls":
			told = true
			return w.number(&u.ToolCalls)
		case "billable_tokens":
			return w.number(&u.Credits)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case u.UserID == "":
		return errors.New("has no \"user_id\"")
	case !told: // the names may have changed: this must not look like idleness
		return errors.New("has none of \"sessions\", \"messages\" and \"tool_calls\"")
	}
	return nil
}
