// Package factoryapi is a client for two parts of the Factory API
// (https://docs.factory.ai): the list of the members of an organization, and the
// analytics of what they do.
//
// It sends one request at a time, retries failures that may pass, and never takes an
// answer that it does not understand for an empty organization.
package factoryapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Defaults of a [Config]. MaxPageSize is the limit in the API document.
const (
	DefaultURL  = "https://api.factory.ai"
	MaxPageSize = 100
)

// Credentials supply the API key.
type Credentials interface {
	// Key returns the key to use from now on. It returns when ctx ends, if not before.
	Key(ctx context.Context) string
}

// Config says how to reach the API. Only Credentials is required.
type Config struct {
	// URL is the API's base URL, with or without a path. DefaultURL if empty.
	// Each request carries the key, so plain http is refused unless the host is
	// localhost or a loopback address.
	URL string
	// Credentials supplies the API key, once for each listing. If they are a
	// [fmt.Stringer], it says where the key came from, for the error of a 401.
	Credentials Credentials
	// PageSize is how many users to ask for in one request, from 1 to MaxPageSize.
	// MaxPageSize if zero.
	PageSize int
	// RequestTimeout bounds one HTTP request, its body included. 30 seconds if zero.
	RequestTimeout time.Duration
	// MaxRetries is how many times a request is repeated after a failure that may
	// pass. Zero means never.
	MaxRetries int
	// UserAgent is sent with each request. Go's own if empty.
	UserAgent string
	// Transport carries the requests. If nil, the client makes a transport that
	// speaks HTTP/1.1, honors HTTPS_PROXY and keeps its connection open.
	Transport http.RoundTripper
	// Observe, if set, is called for each request with the constant of its endpoint.
	// The function that it returns is called once, when the answer was read and judged,
	// with nil, with an *Error, or with context.Canceled.
	Observe func(endpoint string) (ended func(error))
	// Body, if set, is called with the path and the body of each 200, before it is read.
	// The body is valid until Body returns.
	Body func(path string, body []byte)
	// Logger gets a line for each retry, and one if the API says that it is deprecated.
	// None if nil.
	Logger *slog.Logger
}

// Client reads from the API of one organization. It is safe for concurrent use.
type Client struct {
	cfg        Config // with defaults filled in
	base       *url.URL
	byProxy    bool      // the requests go by a proxy
	deprecated sync.Once // has logged so
}

// New returns a client, or an error that says which field of cfg cannot be used
// and why. It sends nothing.
func New(cfg Config) (*Client, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Credentials == nil {
		return nil, errors.New("no credentials")
	}
	cfg.PageSize = cmp.Or(cfg.PageSize, MaxPageSize)
	if cfg.PageSize < 1 || cfg.PageSize > MaxPageSize {
		return nil, fmt.Errorf("page size %d is not between 1 and %d", cfg.PageSize, MaxPageSize)
	}
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 30*time.Second)
	if cfg.RequestTimeout < 0 {
		return nil, fmt.Errorf("request timeout %s is negative", cfg.RequestTimeout)
	}
	if cfg.MaxRetries < 0 {
		return nil, fmt.Errorf("max retries %d is negative", cfg.MaxRetries)
	}
	var proxy *url.URL
	if cfg.Transport == nil {
		if proxy, err = proxyFor(base); err != nil {
			return nil, err
		}
		cfg.Transport = newTransport(proxy)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string) func(error) { return func(error) {} }
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Client{cfg: cfg, base: base, byProxy: proxy != nil}, nil
}

// CloseIdleConnections closes the connections that wait for a next request.
func (c *Client) CloseIdleConnections() {
	(&http.Client{Transport: c.cfg.Transport}).CloseIdleConnections()
}

// CheckURL returns an error that says why s cannot be a [Config]'s URL, or nil. The
// error quotes nothing that may be secret.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

func parseURL(s string) (*url.URL, error) {
	s = cmp.Or(s, DefaultURL)
	u, err := url.Parse(s)
	switch { // a URL that may hold a password or a token is not quoted, so err is not either
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("not a URL like %s", DefaultURL)
	case u.User != nil:
		return nil, errors.New("a URL with a user or password is not supported: the API key is the only credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("a URL with a query or a fragment is not supported: give only the base URL, like %s", DefaultURL)
	case !isPort(u.Port()):
		return nil, errors.New("the port of the URL is not a number from 1 to 65535")
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/"+UsersEndpoint):
		return nil, fmt.Errorf("%q is not the base URL: remove %s from it", s, UsersEndpoint)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%q would send the API key unencrypted: use https", s)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// isPort reports whether text is a port, or empty for the default one.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}
