package factoryapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	// maxBodyBytes bounds the body of a 200. A page of 100 users has about 25 kB, and less
	// than 1 MiB with all the metadata that WorkOS allows.
	maxBodyBytes = 4 << 20
	// maxErrorBytes bounds what is read of an answer that tells an error.
	maxErrorBytes = 64 << 10
)

// chain is a series of requests, one after another, that share a key and memory.
type chain struct {
	client   *Client
	endpoint string // a path below the base URL
	key      string
	body     bytes.Buffer
}

func (c *Client) newChain(ctx context.Context, endpoint string) *chain {
	return &chain{client: c, endpoint: endpoint, key: c.cfg.Credentials.Key(ctx)}
}

// answer is a 200 whose body was read. Whoever reads it says with judge what it is worth.
type answer struct {
	body        []byte // valid until the next request of the chain
	contentType string
	chain       *chain
	ended       func(error) // of Config.Observe
}

// judge ends the request. err says what is wrong with the body, or is nil. The error that
// it returns is an *Error.
func (a *answer) judge(err error) error {
	if errors.Is(err, errNotJSON) {
		err = fmt.Errorf("%w: %d bytes of type %q", err, len(a.body), a.contentType)
	}
	if err != nil {
		err = a.chain.asError(&Error{Kind: KindInvalidResponse, Message: err.Error()})
	}
	a.ended(err)
	return err
}

// try sends one request and reads its answer. Its error is an *Error or context.Canceled.
func (c *chain) try(ctx context.Context, u *url.URL) (*answer, error) {
	cfg := &c.client.cfg
	ended := cfg.Observe(c.endpoint)
	requestCtx, cancel := context.WithTimeout(ctx, cfg.RequestTimeout)
	defer cancel()
	contentType, err := c.do(requestCtx, u)
	if err == nil {
		if cfg.Body != nil {
			cfg.Body(u.Path, c.body.Bytes())
		}
		return &answer{c.body.Bytes(), contentType, c, ended}, nil
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		ended(context.Canceled)
		return nil, context.Canceled
	case errors.As(err, new(*Error)): // says more than a deadline that has passed meanwhile
	case ctx.Err() != nil:
		err = &Error{Kind: KindTimeout, Message: "no complete answer before the deadline"}
	case requestCtx.Err() != nil:
		err = &Error{Kind: KindTimeout, Message: fmt.Sprintf("no complete answer within %s", cfg.RequestTimeout)}
	}
	err = c.asError(err)
	ended(err)
	return nil, err
}

// do sends a request and reads the body of a 200 into the chain's memory. Its error is an
// *Error for an answer that cannot be used, or the error of the transfer.
func (c *chain) do(ctx context.Context, u *url.URL) (contentType string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip") // so that readBody decompresses, and not net/http
	req.Header.Set("Authorization", "Bearer "+c.key)
	if userAgent := c.client.cfg.UserAgent; userAgent != "" {
		req.Header.Set("User-Agent", userAgent)
	}
	// A transport is used without an http.Client: a client that follows a redirect
	// could carry the key to another host, and a client that does not still fails
	// on some redirects.
	resp, err := c.client.cfg.Transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	c.noteDeprecation(resp.Header)
	if resp.StatusCode != http.StatusOK {
		return "", answerError(resp)
	}
	c.body.Reset()
	return resp.Header.Get("Content-Type"), readBody(&c.body, resp, maxBodyBytes)
}

// noteDeprecation logs once that the API is to end or to change, if an answer says so
// (RFC 9745 and RFC 8594).
func (c *chain) noteDeprecation(header http.Header) {
	deprecation, sunset := header.Get("Deprecation"), header.Get("Sunset")
	if deprecation == "" && sunset == "" {
		return
	}
	c.client.deprecated.Do(func() {
		c.client.cfg.Logger.Warn("The API says that this endpoint is deprecated: look for a newer version of the exporter",
			"endpoint", c.endpoint, "deprecation", bound(redact(deprecation, c.key)), "sunset", bound(redact(sunset, c.key)))
	})
}

// readBody appends the body of an answer to b, decompressed. Its error is an *Error if
// the answer arrived whole and cannot be used, or the error of the transfer.
func readBody(b *bytes.Buffer, resp *http.Response, limit int64) error {
	transfer := &transfer{Reader: resp.Body}
	body := io.Reader(transfer)
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		unzipped, err := gzip.NewReader(transfer)
		if err != nil {
			return transfer.explain(err)
		}
		body = unzipped
	}
	n, err := b.ReadFrom(io.LimitReader(body, limit+1))
	if err != nil {
		return transfer.explain(err)
	}
	if n > limit {
		return &Error{Kind: KindInvalidResponse, Message: fmt.Sprintf("body is larger than %d MiB", limit>>20)}
	}
	return nil
}

// transfer remembers how the transfer of a body failed, if it did.
type transfer struct {
	io.Reader
	failure error
}

func (t *transfer) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err != nil && err != io.EOF {
		t.failure = err
	}
	return n, err
}

// explain returns the failure of the transfer, or an *Error for a body that arrived
// whole and could not be decompressed because of err.
func (t *transfer) explain(err error) error {
	if t.failure != nil {
		return t.failure
	}
	return &Error{Kind: KindInvalidResponse, Message: "gzip: " + err.Error()}
}

// answerError makes an *Error of any answer but a 200.
func answerError(resp *http.Response) *Error {
	e := &Error{
		Kind:       KindStatus,
		StatusCode: resp.StatusCode,
		RetryAfter: parseRetryAfter(resp.Header),
	}
	// Reading the answer to its end keeps the connection usable. If the answer breaks
	// off, its status is enough.
	var body bytes.Buffer
	_ = readBody(&body, resp, maxErrorBytes)
	switch location := resp.Header.Get("Location"); {
	case resp.StatusCode < 300:
		e.Kind = KindInvalidResponse
		e.Message = fmt.Sprintf("HTTP %d where a page was asked for", resp.StatusCode)
	case resp.StatusCode < 400 && location != "":
		e.Message = "redirect not followed: " + location
	default:
		e.Message = errorMessage(body.Bytes())
	}
	return e
}

// asError makes an *Error of an error of do. Its message is bounded and without the key.
func (c *chain) asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = transferError(err)
	}
	e.Message = bound(redact(e.Message, c.key))
	source, ok := c.client.cfg.Credentials.(fmt.Stringer)
	switch {
	case e.StatusCode == http.StatusUnauthorized && ok:
		e.Hint = "the key came from " + source.String()
	case e.StatusCode == http.StatusNotFound:
		e.Hint = "is --factory.url the base URL of the API?"
	case e.StatusCode == 0 && e.Temporary() && c.client.byProxy && !strings.HasPrefix(e.Message, "proxy "):
		e.Hint = "by way of the proxy in HTTPS_PROXY"
	}
	return e
}

// transferError classifies the error of a transfer that did not come to an end.
func transferError(err error) *Error {
	kind := KindConnection
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		kind = KindTimeout
	}
	message := err.Error()
	if before, _, quotes := strings.Cut(message, ` "`); quotes && strings.Contains(before, "malformed ") {
		message = before // what is not HTTP may be JSON, which may hold somebody's address
	}
	return &Error{Kind: kind, Message: message}
}
