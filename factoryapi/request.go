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
)

const (
	// maxBodyBytes bounds the body of a 200, where the chain does not say otherwise. A page of 100 users has about 25 kB.
	maxBodyBytes = 16 << 20
	// maxErrorBytes bounds what is read of an answer that tells an error.
	maxErrorBytes = 64 << 10
)

// chain is a series of requests, one after another, that share a key and memory.
type chain struct {
	client   *Client
	key      string
	maxBytes int64 // bounds the body of a 200
	body     bytes.Buffer
}

func (c *Client) newChain() *chain {
	return &chain{client: c, key: c.cfg.Credentials.Key(), maxBytes: maxBodyBytes}
}

// try sends one request and reads its answer. The body of a 200 goes to decode, whose
// error says what is wrong with it. An error of try is an *Error or context.Canceled.
func (c *chain) try(ctx context.Context, u *url.URL, decode func(body []byte) error) (err error) {
	cfg := &c.client.cfg
	requestCtx, cancel := context.WithTimeout(ctx, cfg.RequestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(requestCtx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.key)
	if cfg.UserAgent != "" {
		req.Header.Set("User-Agent", cfg.UserAgent)
	}

	if c.client.suspect.Swap(false) {
		c.client.CloseIdleConnections()
	}
	ended := cfg.Observe()
	defer func() {
		if failure, ok := errors.AsType[*Error](err); ok && failure.Kind == KindTimeout {
			c.client.suspect.Store(true)
		}
		ended(err)
	}()
	err = c.do(req, decode)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.As(err, new(*Error)): // says more than a deadline that has passed meanwhile
	case ctx.Err() != nil:
		return &Error{Kind: KindTimeout, Message: "no complete answer before the listing's deadline"}
	case requestCtx.Err() != nil:
		return &Error{Kind: KindTimeout, Message: fmt.Sprintf("no complete answer within %s", cfg.RequestTimeout)}
	}
	return c.asError(err)
}

// do sends a request. Its error is an *Error for an answer that cannot be used, or the
// error of the transfer.
func (c *chain) do(req *http.Request, decode func(body []byte) error) error {
	// A transport is used without an http.Client: a client that follows a redirect
	// could carry the key to another host, and a client that does not still fails
	// on some redirects.
	resp, err := c.client.cfg.Transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read side only
	if resp.StatusCode != http.StatusOK {
		return answerError(resp)
	}

	c.body.Reset()
	n, err := c.body.ReadFrom(io.LimitReader(resp.Body, c.maxBytes+1))
	if err != nil {
		return err
	}
	if n > c.maxBytes {
		return &Error{Kind: KindInvalidResponse, Message: fmt.Sprintf("page is larger than %d MiB", c.maxBytes>>20)}
	}
	err = decode(c.body.Bytes())
	if errors.Is(err, errNotJSON) {
		const enough = 40 // to tell HTML from text, without the key: what is left of one at this end might not be recognized later
		beginning := redact(string(c.body.Bytes()[:min(n, maxErrorBytes)]), c.key)
		err = fmt.Errorf("%w: %d bytes that begin with %q", err, n, truncate(beginning, enough))
	}
	if err != nil {
		return &Error{Kind: KindInvalidResponse, Message: err.Error()}
	}
	return nil
}

// answerError makes an *Error of any answer but a 200.
func answerError(resp *http.Response) *Error {
	e := &Error{
		Kind:       KindStatus,
		StatusCode: resp.StatusCode,
		RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After")),
	}
	// Reading the answer to its end keeps the connection usable. If the answer breaks
	// off, its status is enough.
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

// asError makes an *Error of an error of do. Its message is bounded and without the key.
func (c *chain) asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = transferError(err)
	}
	e.Message = bound(redact(e.Message, c.key))
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
