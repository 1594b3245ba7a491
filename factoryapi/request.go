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
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
)

const (
	// maxBodyBytes bounds the body of a 200, unless its chain has another bound. A page
	// of 100 users has about 25 kB, and less than 1 MiB with all the metadata that
	// WorkOS allows.
	maxBodyBytes = 4 << 20
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

func (c *Client) newChain(ctx context.Context) *chain {
	return &chain{client: c, key: c.cfg.Credentials.Key(ctx), maxBytes: maxBodyBytes}
}

// try sends one request and reads its answer. The body of a 200 goes to decode, whose
// error says what is wrong with it. An error of try is an *Error or context.Canceled.
func (c *chain) try(ctx context.Context, u *url.URL, decode func(body []byte) error) (err error) {
	cfg := &c.client.cfg
	requestCtx, cancel := context.WithTimeout(ctx, cfg.RequestTimeout)
	defer cancel()
	sending := &sending{observe: cfg.Observe, ended: cfg.Observe()}
	defer func() { sending.end(err) }()
	req, err := http.NewRequestWithContext(sending.trace(requestCtx), http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip") // so that readBody decompresses, and not net/http
	req.Header.Set("Authorization", "Bearer "+c.key)
	if cfg.UserAgent != "" {
		req.Header.Set("User-Agent", cfg.UserAgent)
	}

	err = c.do(req, decode)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.As(err, new(*Error)): // says more than a deadline that has passed meanwhile
	case ctx.Err() != nil:
		return &Error{Kind: KindTimeout, Message: "no complete answer before the deadline"}
	case requestCtx.Err() != nil:
		return &Error{Kind: KindTimeout, Message: fmt.Sprintf("no complete answer within %s", cfg.RequestTimeout)}
	case c.client.proxy != "" && !sending.connected():
		err = fmt.Errorf("proxy %s: %w", c.client.proxy, err)
	}
	return c.asError(err)
}

// sending observes a request. If a connection that was used before breaks without an
// answer, net/http sends the request again on another one: these are two requests.
type sending struct {
	observe func() (ended func(error))

	mu      sync.Mutex // net/http may still write when its caller has gone
	ended   func(error)
	got     bool // a connection
	written bool
}

func (s *sending) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = true
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if info.Err != nil || s.ended == nil {
				return
			}
			if s.written {
				s.ended(&Error{Kind: KindConnection, Message: "the connection broke before the answer"})
				s.ended = s.observe()
			}
			s.written = true
		},
	})
}

// connected reports whether there was a connection to send the request on.
func (s *sending) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *sending) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended(err)
	s.ended = nil
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
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answerError(resp)
	}
	c.body.Reset()
	if err := readBody(&c.body, resp, c.maxBytes); err != nil {
		return err
	}
	err = decode(c.body.Bytes())
	if errors.Is(err, errNotJSON) {
		err = fmt.Errorf("%w: %d bytes of type %q", err, c.body.Len(), resp.Header.Get("Content-Type"))
	}
	if err != nil {
		return &Error{Kind: KindInvalidResponse, Message: err.Error()}
	}
	return nil
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
	return e
}

// transferError classifies the error of a transfer that did not come to an end.
func transferError(err error) *Error {
	kind := KindConnection
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		kind = KindTimeout
	}
	return &Error{Kind: kind, Message: err.Error()}
}
