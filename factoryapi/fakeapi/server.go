// Package fakeapi is the Factory API in process: GET /api/v0/organization/users as the
// API document describes it, three endpoints of the analytics as their reference does,
// and the limits of credits, with paging, bearer key and error bodies. An [Organization] holds the users,
// and [Analytics] hold what they did. A [Server] serves both and, when told to, answers
// as badly as a real server can. A [Demo] is an organization that lives.
package fakeapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// UsersPath is the endpoint's path below the base URL.
const UsersPath = "/api/v0/organization/users"

// Bound and default of the query parameter limit, from the API document.
const (
	maxLimit     = 100
	defaultLimit = 20
)

// Server is the API as an [http.Handler]. It is safe for concurrent use, also while its
// key, its latency, its faults and its organization change.
//
// It refuses, with the documented error body: a key that is missing or wrong (401, before
// anything else), another path (404), another method than GET (405), and a limit outside
// 1-100 or a cursor that is none of its own (400).
type Server struct {
	org *Organization

	guarded
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
	s.mu.Lock()
	s.stats.Requests++
	s.stats.InFlight++
	s.stats.MaxConcurrent = max(s.stats.MaxConcurrent, s.stats.InFlight)
	key, latency, analytics := s.key, s.latency, s.analytics
	s.mu.Unlock()
	defer s.locked(func() { s.stats.InFlight-- })

	if !wait(r.Context(), latency) {
		return
	}
	isAnalytics := strings.HasPrefix(r.URL.Path, AnalyticsPath) || strings.HasPrefix(r.URL.Path, LimitsPath)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+key:
		sendError(w, r, http.StatusUnauthorized, "API key missing or invalid")
		return
	case r.URL.Path != UsersPath && !isAnalytics:
		sendError(w, r, http.StatusNotFound, errNoEndpoint.Error())
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		sendError(w, r, http.StatusMethodNotAllowed, "this can only be read")
		return
	case isAnalytics && analytics == nil:
		sendError(w, r, http.StatusForbidden, "analytics are not enabled for this organization")
		return
	}
	switch page, err := s.page(r.URL, analytics); {
	case errors.Is(err, errNoEndpoint):
		sendError(w, r, http.StatusNotFound, err.Error())
	case err != nil:
		sendError(w, r, http.StatusBadRequest, err.Error())
	default:
		s.behaviorFor(r.URL.Path, page)(w, r, page.body)
	}
}

var errNoEndpoint = errors.New("nothing at this path")

// guarded is something of which one goroutine at a time has the state.
type guarded struct{ mu sync.Mutex }

func (g *guarded) locked(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

// SetKey makes key the only one accepted, by requests that arrive from now on.
func (s *Server) SetKey(key string) { s.locked(func() { s.key = key }) }

// SetAnalytics serves the analytics of the organization. Without them, requests for the
// analytics get a 403.
func (s *Server) SetAnalytics(a *Analytics) { s.locked(func() { s.analytics = a }) }

// SetLatency makes requests that arrive from now on wait for d before they are looked at.
func (s *Server) SetLatency(d time.Duration) { s.locked(func() { s.latency = d }) }

// Inject adds faults behind those already there. A request is spoilt by the first that
// fits it. Requests that the server refuses anyhow are left alone.
func (s *Server) Inject(faults ...Fault) {
	s.locked(func() { s.faults = append(s.faults, faults...) })
}

// ClearFaults forgets all faults. Answers that they have begun are not cut short.
func (s *Server) ClearFaults() { s.locked(func() { s.faults = nil }) }

// Stats returns the counts so far.
func (s *Server) Stats() (stats Stats) {
	s.locked(func() { stats = s.stats })
	return stats
}

// page returns the page that a URL asks for. Its errors are details for the answer.
func (s *Server) page(u *url.URL, analytics *Analytics) (page, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return page{}, fmt.Errorf("query: %w", err)
	}
	if u.Path != UsersPath {
		return analytics.page(u.Path, query)
	}
	limit, err := limitOf(query)
	if err != nil {
		return page{}, err
	}
	from := cursor{page: 1}
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
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, fmt.Errorf("limit: %q is not a number from 1 to %d", query.Get("limit"), maxLimit)
	}
	return limit, nil
}

// behaviorFor returns what happens to the page p of a path.
func (s *Server) behaviorFor(path string, p page) Behavior {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if !f.fits(path, p) {
			continue
		}
		serve := f.Serve
		if f.Times == 1 {
			s.faults = slices.Delete(s.faults, i, i+1)
		} else if f.Times > 1 { // 0: forever
			f.Times--
		}
		s.stats.Faulted++
		return serve
	}
	return PageWith(http.StatusOK)
}

// sendError sends the body of an error: as in the API document, or with a request id in
// place of the metadata, as in the reference of the analytics.
func sendError(w http.ResponseWriter, r *http.Request, status int, detail string) {
	body := map[string]any{"detail": detail, "status": status, "title": http.StatusText(status)}
	if strings.HasPrefix(r.URL.Path, AnalyticsPath) {
		body["requestId"] = "req_01"
	} else {
		body["metadata"] = struct{}{}
	}
	send(w, status, marshal(body))
}

// send writes a whole answer. Where that fails, the client went away.
func send(w http.ResponseWriter, status int, body ...[]byte) {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	promise(w, status, size)
	for _, part := range body {
		_, _ = w.Write(part)
	}
}

// promise sends the header of an answer, of JSON unless another type is set.
func promise(w http.ResponseWriter, status, size int) {
	if _, ok := w.Header()["Content-Type"]; !ok {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(status)
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	waiting, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-waiting.Done()
	return ctx.Err() == nil
}
