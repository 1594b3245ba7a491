package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Those who ask while an answer is being made share the next one: it is not older than
// their question.
func TestScrapesAtOnceShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		answers := newAnswers(func(scrape prometheus.Collector, w http.ResponseWriter, r *http.Request) {
			made++
			mine := made
			time.Sleep(time.Second)
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "answer %d, ", mine)
			fmt.Fprintf(w, "%s %v", scrape.(prometheus.Metric).Desc(), r.Header["Accept-Encoding"])
		})
		one, other := prometheus.NewGauge(prometheus.GaugeOpts{Name: "one"}), prometheus.NewGauge(prometheus.GaugeOpts{Name: "other"})
		var group sync.WaitGroup
		ask := func(n int, scrape prometheus.Metric, encoding string, want int) {
			for range n {
				group.Go(func() {
					request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
					request.Header.Set("Accept-Encoding", encoding)
					w := httptest.NewRecorder()
					if err := answers.get(scrape.(prometheus.Collector), request).send(w); err != nil {
						t.Error(err)
					}
					body := fmt.Sprintf("answer %d, %s [%s]", want, scrape.Desc(), encoding)
					if w.Body.String() != body || w.Header().Get("Content-Type") != "text/plain" || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
						t.Errorf("the answer is %v %s, want %s", w.Header(), w.Body, body)
					}
				})
				synctest.Wait()
			}
		}
		ask(1, one, "gzip", 1)
		ask(20, one, "gzip", 2)
		ask(20, other, "gzip", 3)
		ask(20, one, "identity", 4)
		group.Wait()
		ask(1, one, "gzip", 5)
		group.Wait()
		if made != 5 {
			t.Errorf("%d answers were made, want 5", made)
		}
	})
}

func TestPanicWhileAnAnswerIsMadeStopsNoOther(t *testing.T) {
	fails := true
	answers := newAnswers(func(_ prometheus.Collector, w http.ResponseWriter, _ *http.Request) {
		if fails {
			panic("a bug")
		}
		http.Error(w, "no panic", http.StatusTeapot)
	})
	get := func() (answer *answer, panicked any) {
		defer func() { panicked = recover() }()
		return answers.get(nil, httptest.NewRequest(http.MethodGet, "/metrics", nil)), nil
	}
	if _, panicked := get(); panicked != "a bug" {
		t.Errorf("the panic is %v", panicked)
	}
	fails = false
	answer, panicked := get()
	if panicked != nil {
		t.Fatal(panicked)
	}
	w := httptest.NewRecorder()
	if err := answer.send(w); err != nil || w.Code != http.StatusTeapot || !strings.Contains(w.Body.String(), "no panic") {
		t.Errorf("status %d, error %v: %s", w.Code, err, w.Body)
	}
}
