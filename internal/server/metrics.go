package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector"
)

const (
	// writeTimeout is how long a client may take to read an answer.
	writeTimeout = 10 * time.Second
	// placeTimeout is how long a scrape waits for a place at most, so that many scrapes
	// that waited for one listing need not be refused when it ends.
	placeTimeout = time.Second
	// turnTimeout is how long a scrape with a place waits until its answer is made at
	// most: one of many users may take seconds to make.
	turnTimeout = 10 * time.Second
)

// metricsPage answers scrapes. It makes the answers in memory, one at a time: an answer of
// many users takes much memory and time while it is made, and clients take their time to
// read it.
type metricsPage struct {
	cfg    Config
	users  *collector.Collector
	logger *slog.Logger
	write  func(scrape prometheus.Collector) http.Handler // of the series of a scrape

	places chan struct{} // of the answers that are being made or read
	making chan struct{} // the place of the answer that is being made
}

func newMetricsPage(cfg Config, users *collector.Collector, logger *slog.Logger, write func(prometheus.Collector) http.Handler) *metricsPage {
	places := cmp.Or(cfg.MaxRequests, math.MaxInt) // which take no memory
	return &metricsPage{cfg: cfg, users: users, logger: logger, write: write, places: make(chan struct{}, places), making: make(chan struct{}, 1)}
}

// ServeHTTP answers a scrape once the listing that it waits for has ended, or its deadline
// is near.
func (p *metricsPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The wait may outlast the server's write timeout, so that timeout begins when there
	// is something to write. A writer without deadlines needs none.
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetWriteDeadline(time.Time{})
	listing, turn := r.Context(), r.Context()
	if timeout, ok := scrapeTimeout(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")); ok {
		var cancel context.CancelFunc
		listing, cancel = context.WithTimeout(listing, max(0, timeout-p.cfg.TimeoutOffset))
		defer cancel()
		turn, cancel = context.WithTimeout(turn, max(0, timeout-p.cfg.TimeoutOffset/2))
		defer cancel()
	}
	scrape := p.users.Scrape(listing)
	if !enter(turn, p.places, placeTimeout) {
		p.refuse(w, r, fmt.Sprintf("Too many answers are being made or read. The limit is %d (--web.max-requests).", p.cfg.MaxRequests))
		return
	}
	defer leave(p.places)
	answer, ok := p.answer(turn, scrape, r)
	if !ok {
		p.refuse(w, r, "Other answers are being made, and the turn of this one did not come in time.")
		return
	}
	_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := answer.send(w); err != nil {
		p.logger.Debug("A client did not read the answer to its scrape", "err", err)
	}
}

// answer makes the answer to a scrape. It is not ok if it was not its turn before ctx
// ended, or the client has gone.
func (p *metricsPage) answer(ctx context.Context, scrape prometheus.Collector, r *http.Request) (_ *answer, ok bool) {
	if !enter(ctx, p.making, turnTimeout) {
		return nil, false
	}
	defer leave(p.making)
	if r.Context().Err() != nil {
		return nil, false
	}
	a := &answer{header: http.Header{}, status: http.StatusOK}
	p.write(scrape).ServeHTTP(a, r)
	return a, true
}

// refuse answers a scrape that found no place or got no turn, unless its client has gone.
func (p *metricsPage) refuse(w http.ResponseWriter, r *http.Request, why string) {
	if r.Context().Err() != nil {
		return
	}
	p.logger.Error("Refused a scrape", "reason", why)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	http.Error(w, why, http.StatusServiceUnavailable)
}

// enter takes one of the places. It is not ok if none gets free within a time, or before
// ctx ends.
func enter(ctx context.Context, places chan<- struct{}, within time.Duration) (ok bool) {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func leave(places <-chan struct{}) { <-places }

// maxScrapeTimeout is the longest scrape timeout that the exporter believes. It is
// far longer than any real one, and far from an overflow.
const maxScrapeTimeout = 365 * 24 * time.Hour

// scrapeTimeout reads Prometheus's header. It is not ok unless the header is a positive
// number.
func scrapeTimeout(header string) (timeout time.Duration, ok bool) {
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || !(seconds > 0) || seconds > maxScrapeTimeout.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	body   [][]byte // as it was written, because a large buffer takes twice its size while it grows
	size   int
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, bytes.Clone(b))
	a.size += len(b)
	return len(b), nil
}

func (a *answer) send(w http.ResponseWriter) error {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.size))
	w.WriteHeader(a.status)
	for _, part := range a.body {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
