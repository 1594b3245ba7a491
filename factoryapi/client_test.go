package factoryapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi"
)

func TestAClientServesSeveralAtOnce(t *testing.T) {
	client := newClient(t, serve(t, organizationOf(30)), factoryapi.Config{PageSize: 7})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if users, err := list(t.Context(), client); err != nil || len(users) != 30 {
				t.Errorf("%d users, error %v", len(users), err)
			}
		})
	}
	group.Wait()
}

func TestCloseIdleConnectionsEndsThem(t *testing.T) {
	network := serve(t, organizationOf(1))
	client := newClient(t, network, factoryapi.Config{})
	for want := range 2 {
		if err := askOnce(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if got := network.Dials(); got != want+1 {
			t.Errorf("%d connections, want %d", got, want+1)
		}
		client.CloseIdleConnections()
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	credentials := static(key)
	for _, tt := range []struct {
		name string
		cfg  factoryapi.Config
		want string // part of the error
	}{
		{"no credentials", factoryapi.Config{}, "no credentials"},
		{"page size below the least", factoryapi.Config{Credentials: credentials, PageSize: -1}, "page size -1 is not between 1 and 100"},
		{"page size above the most", factoryapi.Config{Credentials: credentials, PageSize: 101}, "page size 101 is not between 1 and 100"},
		{"negative request timeout", factoryapi.Config{Credentials: credentials, RequestTimeout: -time.Second}, "request timeout -1s is negative"},
		{"negative retries", factoryapi.Config{Credentials: credentials, MaxRetries: -1}, "max retries -1 is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := factoryapi.New(tt.cfg)
			if client != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("client %v, error %v, want %q", client, err, tt.want)
			}
		})
	}
}

func TestNewRefusesURLs(t *testing.T) {
	const unencrypted, shape, extra, user = "would send the API key unencrypted", "not a URL like https://api.factory.ai", "query or a fragment", "user or password"
	for address, want := range map[string]string{
		"http://api.factory.ai":                                   unencrypted,
		"http://localhost.example":                                unencrypted,
		"http://127.0.0.1.example":                                unencrypted,
		"http://10.0.0.1":                                         unencrypted,
		"http://0.0.0.0":                                          unencrypted,
		"http://[fe80::1]":                                        unencrypted,
		"api.factory.ai":                                          shape,
		"//api.factory.ai":                                        shape,
		"/factory":                                                shape,
		"ftp://api.factory.ai":                                    shape,
		"https:api.factory.ai":                                    shape,
		"https://":                                                shape,
		"https://:443":                                            shape,
		"https:///factory":                                        shape,
		"https://api.factory.ai?a=hunter2":                        extra,
		"https://api.factory.ai?":                                 extra,
		"https://api.factory.ai/#top":                             extra,
		"https://api.factory.ai/#hunter2%2F":                      extra,
		"http://api.factory.ai?hunter2":                           extra,
		"/factory?hunter2#hunter2":                                shape,
		"somebody:hunter2@api.factory.ai":                         shape,
		"https:somebody:hunter2@api.factory.ai":                   shape,
		"https:///somebody:hunter2@api.factory.ai":                shape,
		"https://somebody@api.factory.ai":                         user,
		"https://api.factory.ai/api/v0/organization/users":        "is not the base URL",
		"https://api.factory.ai/below/api/v0/organization/users/": "is not the base URL",
		"https://somebody:hunter2@api.factory.ai":                 user,
		"http://localhost:hunter2":                                "not a URL",
		"https://somebody:hunter2@bad host":                       "not a URL",
		"https://api.factory.ai/%zz":                              "not a URL",
		" https://api.factory.ai":                                 "not a URL",
	} {
		t.Run(address, func(t *testing.T) {
			_, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: static(key)})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error quotes what may be a password: %v", err)
			}
		})
	}
}

func TestNewAcceptsURLs(t *testing.T) {
	for _, address := range []string{
		"",
		"https://api.factory.ai",
		"https://api.eu.factory.ai/",
		"https://10.0.0.1:8443/factory",
		"HTTPS://API.FACTORY.AI",
		"http://localhost",
		"http://LocalHost:8080/",
		"http://127.0.0.1:8080",
		"http://127.1.2.3",
		"http://[::1]:8080/factory",
	} {
		t.Run(address, func(t *testing.T) {
			if _, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: static(key)}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	requests := make(chan *http.Request, 1)
	client, err := factoryapi.New(factoryapi.Config{
		Credentials: static(key),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			requests <- r
			return answer{status: http.StatusOK, body: lastPage("")}.RoundTrip(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := askOnce(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if got, want := (<-requests).URL.String(), "https://api.factory.ai/api/v0/organization/users?limit=100"; got != want {
		t.Errorf("URL %s, want %s", got, want)
	}
}
