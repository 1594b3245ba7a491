package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

// The key file goes through all that may become of one while the program runs. Each key that was
// ever in use holds a part of testKey, which may be found nowhere in the end.
func TestKeyFileMayBeReplacedAndSpoilt(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, testKey)
	p := start(t, "--factory.api-key-file="+key, "--factory.url="+serveAPI(t, api), "--log.level=debug", "--factory.max-retries=0")

	var answers strings.Builder
	scrape := func() samples {
		_, header, body := fetch(t, http.MethodGet, p.url+"/metrics")
		fmt.Fprintln(&answers, header, body)
		return parseSamples(t, body)
	}
	for _, step := range []struct {
		name      string
		change    func()
		up        float64
		complains int // log lines so far that the file cannot be read
		returns   int // and that it can again
	}{
		{name: "as at the start", change: func() {}, up: 1},
		{name: "rotated, the old key still accepted", change: func() { writeFile(t, key, " "+testKey+"-2\n"); api.SetKey(testKey + "-2") }, up: 1},
		{name: "gone", change: func() { os.Remove(key) }, up: 1, complains: 1},
		{name: "still gone", change: func() {}, up: 1, complains: 1},
		{name: "empty", change: func() { writeFile(t, key, "") }, up: 1, complains: 1},
		{name: "with a line break inside", change: func() { writeFile(t, key, testKey[:30]+"\n"+testKey[30:]) }, up: 1, complains: 1},
		{name: "a directory", change: func() { os.Remove(key); mkdir(t, key) }, up: 1, complains: 1},
		// A link that leads to itself can be read by nobody, root included.
		{name: "unreadable", change: func() { os.Remove(key); symlink(t, key, key) }, up: 1, complains: 1},
		{name: "back", change: func() { os.Remove(key); writeFile(t, key, testKey+"-2") }, up: 1, complains: 1, returns: 1},
		{name: "gone again", change: func() { os.Remove(key) }, up: 1, complains: 2, returns: 1},
		{name: "back with a key that the API rejects", change: func() { writeFile(t, key, testKey+"-3") }, up: 0, complains: 2, returns: 2},
		{name: "accepted", change: func() { api.SetKey(testKey + "-3") }, up: 1, complains: 2, returns: 2},
	} {
		step.change()
		if up := scrape()["factory_up"]; up != step.up {
			t.Errorf("%s: factory_up is %g, want %g", step.name, up, step.up)
		}
		log := p.stderr.String()
		if got := strings.Count(log, "Cannot read the API key file"); got != step.complains {
			t.Errorf("%s: %d complaints in the log, want %d", step.name, got, step.complains)
		}
		if got := strings.Count(log, "can be read again"); got != step.returns {
			t.Errorf("%s: the log tells %d times that the file is back, want %d", step.name, got, step.returns)
		}
	}
	for _, path := range []string{"/", "/-/healthy", "/-/ready", "/nothing"} {
		_, header, body := fetch(t, http.MethodGet, p.url+path)
		fmt.Fprintln(&answers, header, body)
	}
	p.stop()
	checkNoKey(t, "an answer", answers.String())
	checkNoKey(t, "the log", p.stderr.String())
	checkNoKey(t, "stdout", p.stdout.String())
}

func TestKeyGoesToTheConfiguredHostAlone(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var elsewhere []string
	other := serveAPI(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, fmt.Sprint(r.URL, r.Header))
	}))
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, api), "--log.level=debug")...)
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		for _, to := range []string{
			other + fakeapi.UsersPath + "?key=",
			strings.TrimPrefix(other, "http:") + "/",                       // with the API's own scheme
			strings.Replace(other, "127.0.0.1", "localhost", 1) + "/",      // under a name
			strings.Replace(other, "http://", "http://key@", 1) + "/?key=", // with credentials
			"/",
		} {
			api.ClearFaults()
			api.Inject(fakeapi.Fault{Serve: redirect(status, to)})
			before := api.Stats().Requests
			_, _, body := fetch(t, http.MethodGet, p.url+"/metrics")
			if up := parseSamples(t, body)["factory_up"]; up != 0 {
				t.Errorf("%d to %s: factory_up is %g, want 0", status, to, up)
			}
			if requests := api.Stats().Requests - before; requests != 1 {
				t.Errorf("%d to %s: %d requests, want 1", status, to, requests)
			}
			checkNoKey(t, "an answer", body)
		}
	}
	p.stop()
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) > 0 {
		t.Errorf("another host was asked: %q", elsewhere)
	}
	checkNoKey(t, "the log", p.stderr.String())
}

func TestProxyDoesNotSeeTheKey(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	api := httptest.NewUnstartedServer(fakeapi.NewServer(fakeapi.NewOrganization(members(150, time.Now())...), testKey))
	api.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "api.factory.example")}}
	api.StartTLS()
	t.Cleanup(api.Close)

	var mu sync.Mutex
	var seen []string
	proxy := serveAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, fmt.Sprint(r.Method, " ", r.Host, " ", r.Header))
		mu.Unlock()
		tunnel(w, api.Listener.Addr().String())
	}))
	p := startItself(t,
		[]string{"SSL_CERT_FILE=" + authority.file, "HTTPS_PROXY=" + proxy, "NO_PROXY=", "https_proxy=", "no_proxy="},
		withKey(t, "--factory.url=https://api.factory.example", "--factory.max-retries=0")...)
	if s := p.scrape(t); s["factory_up"] != 1 || s["factory_users"] != 150 {
		t.Errorf("factory_up is %g, factory_users is %g; want 1 and 150", s["factory_up"], s["factory_users"])
	}
	p.stop()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "CONNECT api.factory.example:443 ") {
		t.Errorf("the proxy was asked %q, want one CONNECT for the whole listing", seen)
	}
	checkNoKey(t, "the proxy", strings.Join(seen, "\n"))
}

// tunnel answers a CONNECT by connecting the client with an address.
func tunnel(w http.ResponseWriter, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n") // if this fails, so do the copies
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, buffered)
		server.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		client.Close()
	})
	both.Wait()
}
