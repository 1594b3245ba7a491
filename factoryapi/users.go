package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/url"
	"strconv"
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
		l := &listing{
			chain: c.newChain(ctx),
			seed:  maphash.MakeSeed(),
			used:  map[uint64]struct{}{},
			users: make([]User, 0, c.cfg.PageSize),
		}
		for cursor, more := "", true; more; {
			page, err := l.page(ctx, cursor)
			if err != nil {
				yield(Page{}, err)
				return
			}
			if !yield(page, nil) {
				return
			}
			cursor, more = page.NextCursor, page.HasMore
		}
	}
}

// Bounds of a listing. Without them, a list that never ends would be read until the
// listing's deadline.
const (
	maxPages           = 100_000
	maxEmptyPagesInRow = 100
	maxCursorBytes     = 4 << 10
)

// listing is one pass through the pages.
type listing struct {
	*chain
	seed  maphash.Seed
	used  map[uint64]struct{} // hashes of the cursors that were asked for
	empty int                 // empty pages in a row
	users []User              // memory that all pages use in turn
}

// page returns the page at cursor, a NextCursor of the page before. The first page
// has an empty cursor.
func (l *listing) page(ctx context.Context, cursor string) (page Page, err error) {
	l.used[l.hash(cursor)] = struct{}{}
	query := url.Values{"limit": {strconv.Itoa(l.client.cfg.PageSize)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	u := l.client.base.JoinPath(usersPath)
	u.RawQuery = query.Encode()
	err = l.get(ctx, u, func(body []byte) error {
		var err error
		if page, err = decodePage(body, l.users); err != nil {
			return err
		}
		return l.checkEnd(page)
	})
	if len(page.Users) > 0 {
		l.empty = 0
	} else {
		l.empty++
	}
	return page, err
}

// checkEnd returns an error if the list goes on after page as a list without end would.
func (l *listing) checkEnd(page Page) error {
	if !page.HasMore {
		return nil
	}
	if len(page.NextCursor) > maxCursorBytes {
		return fmt.Errorf("cursor of the next page is longer than %d bytes", maxCursorBytes)
	}
	if _, ok := l.used[l.hash(page.NextCursor)]; ok {
		return errors.New("cursor of the next page was used before")
	}
	if len(page.Users) == 0 && l.empty == maxEmptyPagesInRow {
		return fmt.Errorf("more than %d empty pages in a row", maxEmptyPagesInRow)
	}
	if len(l.used) == maxPages {
		return fmt.Errorf("the list has more than %d pages", maxPages)
	}
	return nil
}

func (l *listing) hash(cursor string) uint64 { return maphash.String(l.seed, cursor) }

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
