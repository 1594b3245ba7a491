package factoryapi

import (
	"context"
	"iter"
)

// usersPath is the endpoint that lists users, below the base URL.
const usersPath = "api/v0/organization/users"

// ListUsers yields every member of the organization, page after page. A failure
// is yielded once, with a zero User, and ends the sequence. It is an [*Error], or
// the context's error if ctx was canceled. Users yielded before a failure are an
// incomplete list.
func (c *Client) ListUsers(ctx context.Context) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for page, err := range c.Pages(ctx) {
			if err != nil {
				yield(User{}, err)
				return
			}
			for _, user := range page.Users {
				if !yield(user, nil) {
					return
				}
			}
		}
	}
}

// Pages yields what ListUsers yields, a page at a time, for callers that count the
// pages as well. The users of a page are overwritten by those of the next. An empty
// organization has one page, which is empty.
func (c *Client) Pages(ctx context.Context) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		var page Page
		users := make([]User, 0, c.cfg.PageSize) // memory that all pages use in turn
		err := c.newChain(ctx).pages(ctx, c.base.JoinPath(usersPath), func(body []byte) (_ end, err error) {
			page, err = decodePage(body, users)
			return end{len(page.Users), page.HasMore, page.NextCursor}, err
		}, func() bool { return yield(page, nil) })
		if err != nil {
			yield(Page{}, err)
		}
	}
}

// Page is one page of the list of users.
type Page struct {
	Users []User
	// HasMore tells whether another page follows. NextCursor is its cursor, empty
	// if there is none.
	HasMore    bool
	NextCursor string
}

// User is a member of the organization, without the names, which nobody needs to
// count. The text of all users of a page shares memory. Use [strings.Clone] to keep
// some of it for long.
type User struct {
	// ID is the WorkOS user id. It is never empty.
	ID string
	// Email is empty if the API sent none.
	Email string
	// CreatedAt is when the account was made.
	CreatedAt Timestamp
	// LastSignInAt is when the user last authenticated. It is missing for a user
	// who never did.
	LastSignInAt Timestamp
	// Metadata are the organization's own attributes of the user.
	Metadata Metadata
}

// Metadata are the attributes that an organization gave to a user. It is the text of a
// JSON object, which Get reads each time. Its zero value holds none.
type Metadata struct{ object walker }

// Get returns the value of a key and whether there is one. It returns a string as it
// is, and a number or a boolean as it is written. Values of other types do not count.
func (m Metadata) Get(key string) (value string, ok bool) {
	w := m.object // a copy, so that it is read from its beginning each time
	for name := range w.members() {
		if name == key {
			value, ok = w.scalar()
		}
	}
	return value, ok
}
