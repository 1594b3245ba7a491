package factoryapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestAListingNeedsOneConnectionAndOneMoreForEachRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := organizationOf(40,
			fakeapi.Fault{Page: 1, Times: 1, Serve: fakeapi.Status(http.StatusTooManyRequests, "Retry-After", "1")},
			fakeapi.Fault{Page: 2, Times: 2, Serve: fakeapi.Status(http.StatusInternalServerError)},
			fakeapi.Fault{Page: 3, Times: 1, Serve: fakeapi.Respond(http.StatusBadGateway, "text/html", "<html>"+strings.Repeat("bad gateway ", 1000))},
			fakeapi.Fault{Page: 4, Times: 1, Serve: fakeapi.Respond(http.StatusServiceUnavailable, "text/plain", "")},
		)
		network := serve(t, api)
		client := newClient(t, network, factoryapi.Config{PageSize: 10, MaxRetries: 2})
		users, err := list(t.Context(), client)
		if err != nil || len(users) != 40 {
			t.Fatalf("%d users, error %v", len(users), err)
		}
		if got := network.Dials(); got != 6 {
			t.Errorf("%d connections, want 6", got)
		}
		if got := api.Stats(); got.Faulted != 5 || got.MaxConcurrent != 1 {
			t.Errorf("stats %+v, want 5 spoilt requests, one at a time", got)
		}
	})
}

// A firewall that forgets a connection swallows what is sent, and neither side is told. A
// balancer may be stuck with a dead backend for as long as a connection lasts.
func TestTheTryAfterAFailureHasANewConnection(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(first *mutableConn, api *fakeapi.Server)
		want  []string // observed
	}{
		{"a dead connection", func(first *mutableConn, _ *fakeapi.Server) { first.mute.Store(true) }, []string{"ok", "timeout", "ok"}},
		{"a balancer that is stuck", func(_ *mutableConn, api *fakeapi.Server) {
			api.Inject(fakeapi.Fault{Times: 1, Serve: fakeapi.Status(http.StatusBadGateway)})
		}, []string{"ok", "502", "ok"}},
	} {
		for retries := range 2 { // without a retry, the next listing makes the next try
			t.Run(fmt.Sprint(tt.name, " ", retries), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := organizationOf(1)
					network := serve(t, api)
					var first *mutableConn
					transport := factoryapi.NewTransport(nil)
					transport.DialContext = func(ctx context.Context, network_, address string) (net.Conn, error) {
						conn, err := network.DialContext(ctx, network_, address)
						if first == nil && err == nil {
							first = &mutableConn{Conn: conn}
							return first, nil
						}
						return conn, err
					}
					var seen observer
					client := newClient(t, network, factoryapi.Config{Transport: transport, MaxRetries: retries, Observe: seen.observe})
					if _, err := list(t.Context(), client); err != nil {
						t.Fatal(err)
					}
					tt.spoil(first, api)
					for range 2 - retries {
						_, _ = list(t.Context(), client)
					}
					if got := seen.results(); !slices.Equal(got, tt.want) {
						t.Errorf("observed %q, want %q", got, tt.want)
					}
					if got := network.Dials(); got != 2 {
						t.Errorf("%d connections, want 2", got)
					}
				})
			})
		}
	}
}

// mutableConn can be made to swallow what is sent.
type mutableConn struct {
	net.Conn
	mute atomic.Bool
}

func (c *mutableConn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestOnlyHTTP1IsSpoken(t *testing.T) {
	requests := record(organizationOf(1))
	server := httptest.NewUnstartedServer(requests)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	transport := factoryapi.NewTransport(nil)
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client := newClient(t, nil, factoryapi.Config{URL: server.URL, Transport: transport})
	if _, err := list(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if got := requests.all()[0].Proto; got != "HTTP/1.1" {
		t.Errorf("the request came by %s", got)
	}
}

func TestHTTPSProxyIsUsed(t *testing.T) {
	requests := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	proxy := httptest.NewServer(requests)
	defer proxy.Close()
	host := strings.TrimPrefix(proxy.URL, "http://")
	setProxy(t, "http://user:hidden@"+host)
	client, err := factoryapi.New(factoryapi.Config{Credentials: static(key)})
	if err != nil {
		t.Fatal(err)
	}
	err = askOnce(t.Context(), client)
	if got := apiError(t, err).Error(); got != "connection: proxy "+host+": HTTP 403 Forbidden" {
		t.Errorf("error %q, want one that names the proxy, once", got)
	}
	if requests.count() != 1 {
		t.Fatalf("%d requests to the proxy", requests.count())
	}
	r := requests.all()[0]
	if r.Method != http.MethodConnect || r.Host != "api.factory.ai:443" {
		t.Errorf("%s %s", r.Method, r.Host)
	}
	if got := fmt.Sprint(r.Header); strings.Contains(got, key) {
		t.Errorf("the proxy saw the key: %s", got)
	}
}

func TestAnErrorOnTheWayThroughAProxySaysSo(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5"} {
		for name, says := range map[string]string{"hangs up": "", "speaks another protocol": "SSH-2.0-x\r\n\r\n", "hangs": "hang"} {
			proxy, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					conn, err := proxy.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					if says == "hang" {
						_, _ = io.Copy(io.Discard, conn) // until the client gives up
					} else {
						_, _ = io.WriteString(conn, says)
					}
					conn.Close()
				}
			}()
			setProxy(t, scheme+"://user:hidden@"+proxy.Addr().String())
			client, err := factoryapi.New(factoryapi.Config{Credentials: static(key), RequestTimeout: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			err = askOnce(t.Context(), client)
			if reason := apiError(t, err).Reason(); reason != "connection" && reason != "timeout" || !strings.Contains(err.Error(), "proxy") || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s, %s: error %q", scheme, name, err)
			}
			proxy.Close()
		}
	}
}

func TestNothingGoesToALoopbackHostByAProxy(t *testing.T) {
	proxy := record(http.NotFoundHandler())
	server := httptest.NewServer(proxy)
	defer server.Close()
	setProxy(t, server.URL)
	t.Setenv("HTTP_PROXY", server.URL)
	api := httptest.NewServer(organizationOf(1))
	defer api.Close()
	port := api.URL[strings.LastIndexByte(api.URL, ':'):]
	for _, host := range []string{"localhost", "LOCALHOST", "127.0.0.1"} {
		client, err := factoryapi.New(factoryapi.Config{URL: "http://" + host + port, Credentials: static(key)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list(t.Context(), client); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		client.CloseIdleConnections()
	}
	if proxy.count() != 0 {
		t.Errorf("%d requests reached the proxy", proxy.count())
	}
}

func TestAProxyThatCannotBeReadIsRefused(t *testing.T) {
	for _, value := range []string{"http://user:hid%zen@proxy.example:3128", "ftp://proxy.example", "http://", "http:///hidden", "user:hid%zen@proxy.example"} {
		setProxy(t, value)
		_, err := factoryapi.New(factoryapi.Config{Credentials: static(key)})
		if err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY") || strings.Contains(err.Error(), "hid") {
			t.Errorf("%s: error %v", value, err)
		}
		if _, err := factoryapi.New(factoryapi.Config{URL: "http://localhost:1", Credentials: static(key)}); err != nil {
			t.Errorf("%s: a loopback host needs no proxy, error %v", value, err)
		}
	}
	for _, value := range []string{"", "proxy.example:3128", "proxy.example", "https://proxy.example", "socks5://proxy.example:1080", "http://user:hid%25den@proxy.example:3128"} {
		setProxy(t, value)
		if _, err := factoryapi.New(factoryapi.Config{Credentials: static(key)}); err != nil {
			t.Errorf("%s: error %v", value, err)
		}
	}
}

func setProxy(t *testing.T, value string) {
	t.Setenv("HTTPS_PROXY", value)
	for _, name := range []string{"https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
}
