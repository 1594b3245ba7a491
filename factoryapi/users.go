package factoryapi

import (
	"context"
	"iter"
	"strings"
)

// UsersEndpoint lists the users. It is a path below the base URL.
const UsersEndpoint = "api/v0/organization/users"

// Pages yields every member of the organization, a page at a time. The users of a page
// are overwritten by those of the next. An empty organization has one page, which is
// empty.
//
// A failure is yielded once and ends the sequence. It is an [*Error], or
// [context.Canceled] if ctx was canceled. Users yielded before a failure are an
// incomplete list.
func (c *Client) Pages(ctx context.Context) iter.Seq2[[]User, error] {
	return pages(ctx, c, c.base.JoinPath(UsersEndpoint), UsersEndpoint, usersForm(), (*walker).user)
}

func usersForm() form {
	return form{array: "users", element: "user", about: "pagination", hasMore: "hasMore", cursor: "nextCursor"}
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
	for name := range w.names() {
		if name == key {
			value, ok = w.scalar()
		}
	}
	return value, ok
}

// OtherCase returns a key that differs from this one in the case of its letters alone,
// and whether there is one.
func (m Metadata) OtherCase(key string) (other string, ok bool) {
	w := m.object
	for name := range w.names() {
		if name != key && strings.EqualFold(name, key) {
			other, ok = strings.Clone(name), true
		}
	}
	return other, ok
}
