package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestStopAnswersWaitingScrapes(t *testing.T) {
	t.Parallel()
	e := newServer(t, settings{members: 1})
	asked := make(chan struct{}, 1)
	e.api.Inject(fakeapi.Fault{Serve: func(w http.ResponseWriter, r *http.Request, page []byte) {
		asked <- struct{}{}
		fakeapi.Hang()(w, r, page)
	}})
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- e.Serve(ctx, func(address net.Addr, _ bool) { ready <- address }) }()
	url := "http://" + (<-ready).String() + "/metrics"
	scraped := make(chan harness.Samples)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		_, _, body := harness.Fetch(t, client, http.MethodGet, url)
		scraped <- harness.Parse(t, body)
	}()
	<-asked
	begin := time.Now()
	stop()
	s := <-scraped
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	s.Check(t, "at the stop", harness.Samples{"factory_up": 0, "factory_users": harness.Absent})
	if errors := s.Sum("factory_api_errors_total"); errors != 0 {
		t.Errorf("%g errors: a request that was canceled is none", errors)
	}
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	e := newExporter(t, settings{})
	headers := func(n int) string { return strings.Repeat("X-Padding: "+strings.Repeat("x", 1000)+"\r\n", n) }
	for _, test := range []struct {
		name         string
		path, header string
		want         int
	}{
		{"a header of 30 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 30_000) + "\r\n", 200},
		{"a header of 40 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 40_000) + "\r\n", 431},
		{"100 headers of 1 kB", "/metrics", headers(100), 431},
		{"a path of 40 kB", "/" + strings.Repeat("x", 40_000), "", 431},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := connect(t, e.network)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				// The answer may come before all of it was wanted.
				_, _ = io.WriteString(conn, "GET "+test.path+" HTTP/1.1\r\nHost: exporter\r\n"+test.header+"\r\n")
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("status %d, want %d", response.StatusCode, test.want)
			}
			conn.Close()
			<-sent
		})
	}
}

// Slow clients are tried on a network in memory with a clock that jumps, so that the
// limits are those of the program.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	const request = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n"
	for _, test := range []struct {
		name   string
		sends  string
		reads  int // bytes that the client takes before it falls asleep
		within time.Duration
	}{
		{name: "that send nothing", within: 10 * time.Second},
		{name: "that never end the header", sends: request, within: 10 * time.Second},
		{name: "that never send the body", sends: strings.Replace(request, "GET", "POST", 1) + "Content-Length: 10\r\n\r\n", reads: 1 << 20, within: 21 * time.Second}, // net/http waits a moment before it closes
		{name: "that ask once and stay", sends: request + "\r\n", reads: 1 << 20, within: 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newExporter(t, settings{})
				conn := connect(t, e.network)
				begin := time.Now()
				write(t, conn, test.sends)
				if test.reads > 0 { // as many, or all there is until the end of the connection
					_, _ = io.CopyN(io.Discard, conn, int64(test.reads))
				}
				if took := time.Since(begin); took > test.within {
					t.Fatalf("reading took %s", took)
				}
				time.Sleep(test.within + time.Second - time.Since(begin))
				if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("after %s the connection is still open (%v)", time.Since(begin), err)
				}
			})
		})
	}
}
