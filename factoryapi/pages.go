package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"strconv"
)

// Bounds of a list. Without them, a list that never ends would be read until the
// deadline.
const (
	maxPages           = 100_000
	maxEmptyPagesInRow = 100
	maxCursorBytes     = 4 << 10
)

// list is one pass through the pages of a list.
type list struct {
	*chain
	seed  maphash.Seed
	used  map[uint64]struct{} // hashes of the cursors that were asked for
	empty int                 // empty pages in a row
}

// end is what a page says of the rest of its list.
type end struct {
	entries int // on the page
	more    bool
	cursor  string // of the next page
}

// pages asks u for a page after another. It gives each body to decode, whose error
// says what is wrong with it, and calls next once decode has accepted it, until next
// returns false. Its error is that of get.
func (c *chain) pages(ctx context.Context, u *url.URL, decode func(body []byte) (end, error), next func() bool) error {
	l := &list{chain: c, seed: maphash.MakeSeed(), used: map[uint64]struct{}{}}
	query := u.Query()
	query.Set("limit", strconv.Itoa(c.client.cfg.PageSize))
	for {
		u.RawQuery = query.Encode()
		l.used[l.hash(query.Get("cursor"))] = struct{}{}
		var page end
		err := c.get(ctx, u, func(body []byte) (err error) {
			if page, err = decode(body); err != nil {
				return err
			}
			return l.check(page)
		})
		if err != nil {
			return err
		}
		if page.entries > 0 {
			l.empty = 0
		} else {
			l.empty++
		}
		if !next() || !page.more {
			return nil
		}
		query.Set("cursor", page.cursor)
	}
}

// check returns an error if the list goes on after page as a list without end would.
func (l *list) check(page end) error {
	if !page.more {
		return nil
	}
	if len(page.cursor) > maxCursorBytes {
		return fmt.Errorf("cursor of the next page is longer than %d bytes", maxCursorBytes)
	}
	if _, ok := l.used[l.hash(page.cursor)]; ok {
		return errors.New("cursor of the next page was used before")
	}
	if page.entries == 0 && l.empty == maxEmptyPagesInRow {
		return fmt.Errorf("more than %d empty pages in a row", maxEmptyPagesInRow)
	}
	if len(l.used) == maxPages {
		return fmt.Errorf("the list has more than %d pages", maxPages)
	}
	return nil
}

func (l *list) hash(cursor string) uint64 { return maphash.String(l.seed, cursor) }
