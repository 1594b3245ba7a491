package factoryapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi"
)

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
	for want, addresses := range map[string][]string{
		"would send the API key unencrypted": {
			"http://api.factory.ai", "http://localhost.example", "http://127.0.0.1.example", "http://10.0.0.1", "http://0.0.0.0", "http://[fe80::1]",
		},
		"not a URL like https://api.factory.ai": {
			"api.factory.ai", "//api.factory.ai", "/factory", "ftp://api.factory.ai", "https:api.factory.ai", "https://", "https://:443", "https:///factory",
			"/factory?hunter2#hunter2", "somebody:hunter2@api.factory.ai", "https:somebody:hunter2@api.factory.ai", "https:///somebody:hunter2@api.factory.ai",
			"http://localhost:hunter2", "https://somebody:hunter2@bad host", "https://api.factory.ai/%zz", " https://api.factory.ai",
		},
		"query or a fragment": {
			"https://api.factory.ai?a=hunter2", "https://api.factory.ai?", "https://api.factory.ai/#top", "https://api.factory.ai/#hunter2%2F", "http://api.factory.ai?hunter2",
		},
		"user or password":    {"https://somebody@api.factory.ai", "https://somebody:hunter2@api.factory.ai"},
		"is not the base URL": {"https://api.factory.ai/api/v0/organization/users", "https://api.factory.ai/below/api/v0/organization/users/"},
		"the port of the URL": {"https://api.factory.ai:0", "https://api.factory.ai:65536"},
	} {
		for _, address := range addresses {
			_, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: static(key)})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: error %v, want %q, and no password", address, err, want)
			}
		}
	}
	for _, address := range []string{
		"", "https://api.factory.ai", "https://api.eu.factory.ai/", "https://10.0.0.1:8443/factory", "HTTPS://API.FACTORY.AI",
		"http://localhost", "http://LocalHost:8080/", "http://127.0.0.1:8080", "http://127.1.2.3", "http://[::1]:8080/factory",
	} {
		if _, err := factoryapi.New(factoryapi.Config{URL: address, Credentials: static(key)}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	var asked string
	client, err := factoryapi.New(factoryapi.Config{
		Credentials: static(key),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			return answer{status: http.StatusOK, body: lastPage("")}.RoundTrip(r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err, want := askOnce(t.Context(), client), "https://api.factory.ai/api/v0/organization/users?limit=100"; err != nil || asked != want {
		t.Errorf("URL %s and error %v, want %s", asked, err, want)
	}
}
