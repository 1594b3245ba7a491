package main

import (
	"bytes"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// answers makes the pages of metrics in memory, one at a time. A page of many members
// takes much memory and time while it is made, and clients take their time to read it.
// Scrapes that wait for the same page share it.
type answers struct {
	// write writes the page that answers a request, with the series of a scrape.
	write func(scrape prometheus.Collector, w http.ResponseWriter, r *http.Request)

	making chan struct{} // holds one value while a page is made

	mu   sync.Mutex
	next map[answerKey]*turn // those that are not being made yet
}

// turn is an answer to come.
type turn struct {
	done   chan struct{}
	answer *answer // an error unless it was made
}

// answerKey tells answers apart: by what there is to show, and by all of a request that
// promhttp looks at.
type answerKey struct {
	scrape                        prometheus.Collector
	accept, acceptEncoding, query string
}

func newAnswers(write func(prometheus.Collector, http.ResponseWriter, *http.Request)) *answers {
	return &answers{write: write, making: make(chan struct{}, 1), next: map[answerKey]*turn{}}
}

// get returns an answer that nobody had begun to make when get was called, or nil if the
// client has gone meanwhile.
func (a *answers) get(scrape prometheus.Collector, r *http.Request) *answer {
	key := answerKey{
		scrape:         scrape,
		accept:         strings.Join(r.Header.Values("Accept"), ","),
		acceptEncoding: strings.Join(r.Header.Values("Accept-Encoding"), ","),
		query:          r.URL.RawQuery,
	}
	a.mu.Lock()
	next, waits := a.next[key]
	if !waits {
		next = &turn{done: make(chan struct{}), answer: &answer{status: http.StatusInternalServerError}}
		a.next[key] = next
	}
	a.mu.Unlock()
	if waits {
		select {
		case <-next.done:
			return next.answer
		case <-r.Context().Done():
			return nil
		}
	}

	a.making <- struct{}{}
	defer func() {
		<-a.making
		close(next.done)
	}()
	a.mu.Lock()
	delete(a.next, key) // who comes from now on needs newer numbers
	a.mu.Unlock()
	made := &answer{header: http.Header{}, status: http.StatusOK}
	a.write(scrape, made, r)
	next.answer = made
	return made
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	body   [][]byte // as it was written, because a large buffer takes twice its size while it grows
	size   int
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, bytes.Clone(b))
	a.size += len(b)
	return len(b), nil
}

// send writes the answer to a client. Several clients may be sent it at once.
func (a *answer) send(w http.ResponseWriter) error {
	maps.Copy(w.Header(), a.header.Clone())
	w.Header().Set("Content-Length", strconv.Itoa(a.size))
	w.WriteHeader(a.status)
	for _, part := range a.body {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
