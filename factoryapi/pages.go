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

// Bounds of a list. Without them, a list that never ends would be read until the
// deadline.
const (
	maxPages           = 100_000
	maxEmptyPagesInRow = 100
	maxCursorBytes     = 4 << 10
)

// pages yields the entries of a list, a page after another. read reads an entry, and its
// error says what is wrong with it. An error is yielded once and ends the list: an *Error,
// or context.Canceled.
func pages[T any](ctx context.Context, c *Client, u *url.URL, endpoint string, f form, read func(*walker, *T) error) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		chain := c.newChain(ctx, endpoint)
		list := newList(u, c.cfg.PageSize)
		entries := make([]T, 0, c.cfg.PageSize) // memory that all pages use in turn
		for more := true; more; {
			clear(entries) // which lets go of the text of the page before
			answer, err := chain.ask(ctx, list.next())
			if err == nil {
				var page end
				entries, page, err = decode(answer.body, f, entries[:0], read)
				if err == nil {
					err = list.accept(page, len(entries))
				}
				more = page.hasMore
				err = answer.judge(err)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(entries, nil) {
				return
			}
		}
	}
}

// end is what a page says of the rest of its list.
type end struct {
	hasMore bool
	cursor  string // of the next page
}

// list is one pass through the pages of a list.
type list struct {
	url   url.URL
	query url.Values
	seed  maphash.Seed
	used  map[uint64]struct{} // hashes of the cursors that were asked for
	empty int                 // empty pages in a row
}

func newList(u *url.URL, pageSize int) *list {
	l := &list{url: *u, query: u.Query(), seed: maphash.MakeSeed(), used: map[uint64]struct{}{}}
	l.query.Set("limit", strconv.Itoa(pageSize))
	return l
}

func (l *list) next() *url.URL {
	l.used[l.hash(l.query.Get("cursor"))] = struct{}{}
	l.url.RawQuery = l.query.Encode()
	return &l.url
}

// accept goes on to the page after one of so many entries. Its error says that the list
// goes on as a list without end would.
func (l *list) accept(page end, entries int) error {
	if !page.hasMore {
		return nil
	}
	l.empty++
	if entries > 0 {
		l.empty = 0
	}
	_, again := l.used[l.hash(page.cursor)]
	switch {
	case len(page.cursor) > maxCursorBytes:
		return fmt.Errorf("cursor of the next page is longer than %d bytes", maxCursorBytes)
	case again:
		return errors.New("cursor of the next page was used before")
	case l.empty > maxEmptyPagesInRow:
		return fmt.Errorf("more than %d empty pages in a row", maxEmptyPagesInRow)
	case len(l.used) == maxPages:
		return fmt.Errorf("the list has more than %d pages", maxPages)
	}
	l.query.Set("cursor", page.cursor)
	return nil
}

func (l *list) hash(cursor string) uint64 { return maphash.String(l.seed, cursor) }
