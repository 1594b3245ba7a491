package factoryapi

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxPageBytes bounds a page. 100 users are about 25 kB.
	maxPageBytes = 16 << 20
	// maxPageUsers bounds them in number as well: a million that are next to nothing
	// fit into maxPageBytes, and each takes more memory than text.
	maxPageUsers = 1 << 16
	// maxErrorBytes bounds what is read of an answer that tells of an error.
	maxErrorBytes = 64 << 10
)

// listing is one pass through the pages, with one key and with memory that all
// pages use in turn.
type listing struct {
	client *Client
	key    string
	used   map[string]bool // the cursors that were asked for
	body   bytes.Buffer
	users  []User
}

func (c *Client) newListing() *listing {
	return &listing{client: c, key: c.credentials.Key(), used: map[string]bool{}, users: make([]User, 0, c.pageSize)}
}

// get sends one request for the page at cursor and reads its answer.
func (l *listing) get(ctx context.Context, cursor string) (page Page, err error) {
	timeout := l.client.requestTimeout
	requestCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(requestCtx, http.MethodGet, l.client.pageURL(cursor), nil)
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+l.key)
	if l.client.userAgent != "" {
		req.Header.Set("User-Agent", l.client.userAgent)
	}

	if l.client.mayBeDead.Swap(false) {
		l.client.CloseIdleConnections()
	}
	ended := l.client.observe()
	defer func() {
		if failure, ok := errors.AsType[*Error](err); ok && failure.Kind == KindTimeout {
			l.client.mayBeDead.Store(true)
		}
		ended(err)
	}()
	page, err = l.do(req)
	switch {
	case err == nil:
		return page, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return Page{}, context.Canceled
	case errors.As(err, new(*Error)): // tells more than a deadline that has passed meanwhile
	case ctx.Err() != nil:
		return Page{}, &Error{Kind: KindTimeout, Message: "no complete answer before the listing's deadline"}
	case requestCtx.Err() != nil:
		return Page{}, &Error{Kind: KindTimeout, Message: fmt.Sprintf("no complete answer within %s", timeout)}
	}
	return Page{}, l.typed(err)
}

// do returns the page, an *Error for an answer that is no page, or the error of
// the transfer.
func (l *listing) do(req *http.Request) (Page, error) {
	resp, err := l.client.transport.RoundTrip(req)
	if err != nil {
		return Page{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read side only
	if resp.StatusCode != http.StatusOK {
		return Page{}, l.answerError(resp)
	}

	l.body.Reset()
	n, err := l.body.ReadFrom(io.LimitReader(resp.Body, maxPageBytes+1))
	if err != nil {
		return Page{}, err
	}
	if n > maxPageBytes {
		return Page{}, &Error{Kind: KindInvalidResponse, Message: fmt.Sprintf("page is larger than %d MiB", maxPageBytes>>20)}
	}
	page, err := decodePage(l.body.Bytes(), l.users)
	if errors.Is(err, errNotJSON) {
		const enough = 40 // to tell HTML from text, without the key: what is left of one at this end might not be recognized later
		beginning := redact(string(l.body.Bytes()[:min(n, maxErrorBytes)]), l.key)
		err = fmt.Errorf("%w: %d bytes that begin with %q", err, n, truncate(beginning, enough))
	}
	if err != nil {
		return Page{}, &Error{Kind: KindInvalidResponse, Message: err.Error()}
	}
	// Such a list would never end.
	if page.HasMore && l.used[page.NextCursor] {
		return Page{}, &Error{Kind: KindInvalidResponse, Message: "cursor of the next page was used before"}
	}
	return page, nil
}

// answerError turns any answer but a 200 into an *Error.
func (l *listing) answerError(resp *http.Response) *Error {
	e := &Error{
		Kind:       KindStatus,
		StatusCode: resp.StatusCode,
		RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After")),
	}
	// Reading the answer to its end keeps the connection usable. If it breaks
	// off, the status has told enough.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	switch location := resp.Header.Get("Location"); {
	case resp.StatusCode < 300:
		e.Kind = KindInvalidResponse
		e.Message = fmt.Sprintf("HTTP %d where a page was asked for", resp.StatusCode)
	case resp.StatusCode < 400 && location != "":
		e.Message = "redirect not followed: " + location
	default:
		e.Message = errorMessage(body)
	}
	return e
}

// typed makes an *Error of whatever do returned and lets no key through.
func (l *listing) typed(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = transferError(err)
	}
	e.Message = bound(redact(e.Message, l.key))
	return e
}

// transferError classifies the error of a transfer that did not come to an end.
func transferError(err error) *Error {
	kind := KindConnection
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		kind = KindTimeout
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		kind = KindInvalidResponse
	}
	return &Error{Kind: kind, Message: err.Error()}
}

// redact removes the key from text that the other side may have made of it: as it
// is, quoted, or escaped for a URL; and every part of it that is long enough to be of
// use, where it was shortened, cut off or escaped in some other way.
func redact(text, key string) string {
	telling := min(6, len(key)) // bytes in a row
	if telling == 0 {
		return text
	}
	quoted := strconv.Quote(key)
	forms := strings.Join([]string{key, quoted[1 : len(quoted)-1], url.QueryEscape(key), url.PathEscape(key)}, "\n")
	var kept strings.Builder
	end := 0 // of the part that is left out
	for i := range len(text) {
		if i+telling <= len(text) && strings.Contains(forms, text[i:i+telling]) {
			if i >= end {
				kept.WriteString("[redacted]")
			}
			end = i + telling
		}
		if i >= end {
			kept.WriteByte(text[i])
		}
	}
	return kept.String()
}
