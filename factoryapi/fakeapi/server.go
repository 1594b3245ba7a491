// Package fakeapi is the Factory API in process: GET /api/v0/organization/users as the
// API document describes it, three endpoints of the analytics as their reference does,
// and the limits of credits, with paging, bearer key and error bodies. An [Organization] holds the members,
// and [Analytics] hold what they did. A [Server] serves both and, when told to, answers
// as badly as a real server can. A [Demo] is an organization that lives.
//
// Where the document is silent (which status refuses a limit of 0, what a cursor looks
// like), the comments say what was chosen.
package fakeapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// UsersPath is the endpoint's path below the base URL.
const UsersPath = "/api/v0/organization/users"

// Bounds and default of the query parameter limit, from the API document.
const (
	minLimit     = 1
	maxLimit     = 100
	defaultLimit = 20
)

// Server is the API as an [http.Handler]. It is safe for concurrent use, also while its
// key, its latency, its faults and its organization change.
//
// It refuses, with the documented error body: a key that is missing or wrong (401, before
// anything else is looked at), another path (404), another method than GET (405), and a
// limit outside 1-100 or a cursor that is none of its own (400). The document names 401,
// 403 and 500 only; the other statuses are a choice of this package.
type Server struct {
	org *Organization

	mu        sync.Mutex
	key       string
	latency   time.Duration
	analytics *Analytics // nil: not enabled
	faults    []Fault    // in the order injected; Times is what is left
	stats     Stats
}

// Stats counts requests since the server was made.
type Stats struct {
	Requests      int // received, refused and unfinished ones included
	Faulted       int // answered by a fault
	InFlight      int // being answered now
	MaxConcurrent int // the highest InFlight so far
}

// NewServer serves org to requests that carry "Authorization: Bearer KEY".
func NewServer(org *Organization, key string) *Server {
	return &Server{org: org, key: key}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, latency, analytics := s.enter()
	defer s.leave()

	if !wait(r.Context(), latency) {
		return
	}
	isAnalytics := strings.HasPrefix(r.URL.Path, AnalyticsPath) || strings.HasPrefix(r.URL.Path, LimitsPath)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+key:
		sendError(w, r, http.StatusUnauthorized, "API key missing or invalid")
		return
	case r.URL.Path != UsersPath && !isAnalytics:
		sendError(w, r, http.StatusNotFound, "nothing at this path")
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		sendError(w, r, http.StatusMethodNotAllowed, "this can only be read")
		return
	case isAnalytics && analytics == nil:
		sendError(w, r, http.StatusForbidden, "analytics are not enabled for this organization")
		return
	}
	page, ok, err := page{}, true, error(nil)
	if isAnalytics {
		page, ok, err = analytics.page(r.URL.Path, r.URL.Query())
	} else {
		page, err = s.page(r.URL.RawQuery)
	}
	switch {
	case !ok:
		sendError(w, r, http.StatusNotFound, "nothing at this path")
		return
	case err != nil:
		sendError(w, r, http.StatusBadRequest, err.Error())
		return
	}
	if spoil := s.faultFor(r.URL.Path, page); spoil != nil {
		spoil(w, r, page.body)
		return
	}
	send(w, http.StatusOK, page.body)
}

// SetKey makes key the only one accepted, by requests that arrive from now on.
func (s *Server) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// SetAnalytics serves the analytics of the organization. Without them, requests for the
// analytics get a 403.
func (s *Server) SetAnalytics(a *Analytics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.analytics = a
}

// SetLatency makes requests that arrive from now on wait for d before they are looked at.
// The wait ends early, without an answer, when the request's context does.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// Inject adds faults behind those already there. A request is spoilt by the first that
// fits it. Requests that the server refuses anyhow are left alone.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// ClearFaults forgets all faults. Answers that they have begun are not cut short.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Server) enter() (key string, latency time.Duration, analytics *Analytics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	s.stats.InFlight++
	s.stats.MaxConcurrent = max(s.stats.MaxConcurrent, s.stats.InFlight)
	return s.key, s.latency, s.analytics
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.InFlight--
}

// page returns the page that a query asks for. Its errors are details for the answer.
func (s *Server) page(rawQuery string) (page, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return page{}, fmt.Errorf("query: %w", err)
	}
	limit, err := limitOf(query)
	if err != nil {
		return page{}, err
	}
	from := start()
	if query.Has("cursor") {
		if from, err = parseCursor(query.Get("cursor")); err != nil {
			return page{}, err
		}
	}
	return s.org.page(from, limit), nil
}

func limitOf(query url.Values) (int, error) {
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < minLimit || limit > maxLimit {
		return 0, fmt.Errorf("limit: %q is not a number from %d to %d", query.Get("limit"), minLimit, maxLimit)
	}
	return limit, nil
}

// faultFor returns the behavior that spoils the page p of a path, nil when none does.
func (s *Server) faultFor(path string, p page) Behavior {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if !f.fits(path, p) {
			continue
		}
		serve := f.Serve
		switch f.Times {
		case 0: // forever
		case 1:
			s.faults = append(s.faults[:i], s.faults[i+1:]...)
		default:
			f.Times--
		}
		s.stats.Faulted++
		return serve
	}
	return nil
}

// errorBody is the body of an error: as in the API document, or with a request id in
// place of the metadata, as in the reference of the analytics.
type errorBody struct {
	Detail    string          `json:"detail"`
	Status    int             `json:"status"`
	Title     string          `json:"title"`
	Metadata  *map[string]any `json:"metadata,omitempty"`
	RequestID string          `json:"requestId,omitempty"`
}

func sendError(w http.ResponseWriter, r *http.Request, status int, detail string) {
	body := errorBody{Detail: detail, Status: status, Title: http.StatusText(status)}
	if strings.HasPrefix(r.URL.Path, AnalyticsPath) {
		body.RequestID = "req_01"
	} else {
		body.Metadata = &map[string]any{}
	}
	send(w, status, marshal(body))
}

// send writes a whole answer. A failing write means that the client went away: nobody is
// left to tell.
func send(w http.ResponseWriter, status int, body ...[]byte) {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(status)
	for _, part := range body {
		_, _ = w.Write(part)
	}
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
