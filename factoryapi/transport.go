package factoryapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// newTransport returns a transport that uses the proxy, if it is not nil.
//
// It speaks HTTP/1.1 only. One request at a time gains nothing by HTTP/2, whose
// transport repeats requests by itself and keeps a bad connection for good.
func newTransport(proxy *url.URL) *http.Transport {
	transport := &http.Transport{
		Protocols:              new(http.Protocols),
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	transport.Protocols.SetHTTP1(true)
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("proxy %s: HTTP %s", proxy.Host, resp.Status)
			}
			return nil
		}
	}
	return transport
}

// proxyFor returns the proxy that HTTPS_PROXY and NO_PROXY name for the API, or nil. To
// a loopback host nothing goes by a proxy. Its error quotes nothing, because the variable
// may hold a password.
func proxyFor(base *url.URL) (*url.URL, error) {
	if isLoopback(base.Hostname()) {
		return nil, nil
	}
	env := httpproxy.FromEnvironment()
	if env.HTTPSProxy != "" && !isProxy(env.HTTPSProxy) { // httpproxy would go without one
		return nil, errors.New("environment variable HTTPS_PROXY: not a URL like http://proxy.example:3128 (in a password, write % as %25)")
	}
	return env.ProxyFunc()(base)
}

// isProxy reports whether a transport can use the proxy at value, with or without a
// scheme.
func isProxy(value string) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}
