// Package factoryapi is a client for the part of the Factory API
// (https://docs.factory.ai) that lists the members of an organization.
//
// It sends one request at a time, retries what is worth a retry, and never
// takes an answer that it does not understand for an empty organization.
package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Defaults of a [Config]. MaxPageSize is the API document's limit.
const (
	DefaultURL            = "https://api.factory.ai"
	DefaultRequestTimeout = 30 * time.Second
	MaxPageSize           = 100
)

// usersPath is the one endpoint, below the base URL.
const usersPath = "api/v0/organization/users"

// Config says how to reach the API. Only Credentials is required.
type Config struct {
	// URL is the API's base URL, with or without a path; DefaultURL if empty.
	// Since the key travels with each request, plain http is refused unless the
	// host is this one: localhost or a loopback address.
	URL string
	// Credentials supplies the API key, once for each listing.
	Credentials Credentials
	// PageSize is how many users to ask for at a time, from 1 to MaxPageSize,
	// which is also the default.
	PageSize int
	// RequestTimeout bounds one HTTP request, its body included;
	// DefaultRequestTimeout if zero.
	RequestTimeout time.Duration
	// MaxRetries is how often a page is asked for again after a failure that
	// may pass. Zero means never.
	MaxRetries int
	// UserAgent is sent with each request; Go's own if empty.
	UserAgent string
	// Transport carries the requests. If nil, it is a transport of the client's
	// own that honours HTTPS_PROXY and keeps its connection open.
	Transport http.RoundTripper
	// Observe, if set, is called when a request is about to be sent. The
	// function that it returns is called once, when the request has ended, with
	// nil, with an *Error, or with context.Canceled.
	Observe func() (ended func(error))
}

// Client lists the members of one organization. It is safe for concurrent use.
type Client struct {
	// transport, and not an http.Client: one that follows a redirect could carry
	// the key to another host, and one that does not still fails on some.
	transport      http.RoundTripper
	endpoint       url.URL
	credentials    Credentials
	pageSize       int
	requestTimeout time.Duration
	maxRetries     int
	userAgent      string
	observe        func() func(error)
	// mayBeDead: an answer did not come in time, perhaps because a firewall on the
	// way has forgotten the connection. HTTP/2 would go on using it.
	mayBeDead atomic.Bool
}

// New returns a client, or an error that says which field of cfg cannot be used
// and why. It sends nothing.
func New(cfg Config) (*Client, error) {
	endpoint, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Credentials == nil {
		return nil, errors.New("no credentials")
	}
	if cfg.PageSize == 0 {
		cfg.PageSize = MaxPageSize
	}
	if cfg.PageSize < 1 || cfg.PageSize > MaxPageSize {
		return nil, fmt.Errorf("page size %d is not between 1 and %d", cfg.PageSize, MaxPageSize)
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = DefaultRequestTimeout
	}
	if cfg.RequestTimeout < 0 {
		return nil, fmt.Errorf("request timeout %s is negative", cfg.RequestTimeout)
	}
	if cfg.MaxRetries < 0 {
		return nil, fmt.Errorf("max retries %d is negative", cfg.MaxRetries)
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	if cfg.Observe == nil {
		cfg.Observe = func() func(error) { return func(error) {} }
	}
	return &Client{
		transport:      cfg.Transport,
		endpoint:       *endpoint,
		credentials:    cfg.Credentials,
		pageSize:       cfg.PageSize,
		requestTimeout: cfg.RequestTimeout,
		maxRetries:     cfg.MaxRetries,
		userAgent:      cfg.UserAgent,
		observe:        cfg.Observe,
	}, nil
}

// ListUsers yields every member of the organization, page after page. A failure
// is yielded once, with a zero User, and ends the sequence; it is an [*Error], or
// the context's error if ctx was cancelled. Users yielded before it are part of a
// listing that failed.
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

// Pages is ListUsers by the page, for callers that count the pages as well. The
// users of a page are overwritten by those of the next. An empty organization has one
// page, which is empty.
func (c *Client) Pages(ctx context.Context) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		l := c.newListing()
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

// Page returns the page at cursor, a NextCursor of the page before; the first
// page has the empty cursor. Errors are those of ListUsers.
func (c *Client) Page(ctx context.Context, cursor string) (Page, error) {
	return c.newListing().page(ctx, cursor)
}

// CloseIdleConnections closes the connections that wait for a next listing.
func (c *Client) CloseIdleConnections() {
	(&http.Client{Transport: c.transport}).CloseIdleConnections()
}

// pageURL is the address of the page at cursor.
func (c *Client) pageURL(cursor string) string {
	query := url.Values{"limit": {strconv.Itoa(c.pageSize)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	u := c.endpoint
	u.RawQuery = query.Encode()
	return u.String()
}

// CheckURL returns an error that says why s cannot be a [Config]'s URL, or nil. The
// error quotes nothing that may be secret.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

// parseURL returns the endpoint's URL below the base URL s.
func parseURL(s string) (*url.URL, error) {
	if s == "" {
		s = DefaultURL
	}
	u, err := url.Parse(s)
	switch { // what may hold a password or a token is not quoted, so not err itself
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("not a URL like %s", DefaultURL)
	case u.User != nil:
		return nil, errors.New("a URL with a user or password is not supported: the API key is the only credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("a URL with a query or a fragment is not supported: give the base URL alone, like %s", DefaultURL)
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/"+usersPath):
		return nil, fmt.Errorf("%q is more than the base URL; leave %s away", s, usersPath)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%q would send the API key unencrypted; use https", s)
	}
	return u.JoinPath(usersPath), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
