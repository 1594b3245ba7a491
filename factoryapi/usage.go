package factoryapi

import (
	"context"
	"errors"
	"iter"
)

// maxUsageBytes bounds a page of the usage. The reference does not say whether the
// limit of a page counts rows or users: 100 users with a row for each of 90 days have
// about 6 MB.
const maxUsageBytes = 32 << 20

// Usage is what one user did: on a day, or in the whole range that was asked for. The
// reference does not say which. Its text shares memory with that of its page.
type Usage struct {
	// UserID is the id that the user has in the list of members. It is never empty.
	UserID string
	// Day is zero if the row does not tell it.
	Day Day
	// Sessions, Messages and ToolCalls are missing if the API sent null. At least one
	// field is there.
	Sessions, Messages, ToolCalls Number
}

// Usage yields pages of what each user did in a range of days. The rows of a page are
// overwritten by those of the next. Errors are as in ListUsers: one ends the sequence,
// and what came before it is incomplete.
func (c *Client) Usage(ctx context.Context, days Days) iter.Seq2[[]Usage, error] {
	return func(yield func([]Usage, error) bool) {
		chain := c.newChain(ctx)
		chain.maxBytes = maxUsageBytes
		rows := make([]Usage, 0, c.cfg.PageSize) // memory that all pages use in turn
		err := chain.pages(ctx, c.analyticsURL("users", days), func(body []byte) (_ end, err error) {
			var meta rowsMeta
			rows, meta, err = decodeRows(body, days, rows[:0], (*walker).usage)
			switch {
			case err != nil:
			case !meta.tellsMore:
				err = errors.New("JSON without \"has_more\" in \"meta\"")
			case meta.hasMore && meta.nextCursor == "":
				err = errors.New("\"has_more\" is true, but there is no \"next_cursor\"")
			}
			return end{len(rows), meta.hasMore, meta.nextCursor}, err
		}, func() bool { return yield(rows, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

func (w *walker) usage(u *Usage) error {
	told := false
	err := w.fields(func(name string) error {
		switch name {
		case "user_id":
			u.UserID, _ = w.str()
		case "date":
			u.Day = w.day()
		case "sessions":
			told = true
			return w.number(&u.Sessions)
		case "messages":
			told = true
			return w.number(&u.Messages)
		case "tool_calls":
			told = true
			return w.number(&u.ToolCalls)
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
