package main

import (
	"net/http"
	"strings"
	"testing"

	"factory_exporter/factoryapi/fakeapi"
)

func TestLandingPageTellsHowTheLastListingWent(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Member{ID: "a"}), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, api), "--factory.max-retries=0")...)
	expect := func(want string) {
		t.Helper()
		if _, _, body := fetch(t, "GET", p.url+"/"); !strings.Contains(body, want) || strings.Contains(body, "Demo") {
			t.Errorf("want %q in\n%s", want, body)
		}
	}
	expect("No listing of the members has ended yet")
	fetch(t, "GET", p.url+"/metrics")
	expect("Members found: 1.")
	api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusForbidden)})
	fetch(t, "GET", p.url+"/metrics")
	expect("(403). The log tells more.")
}

func TestLandingPageOfTheDemoSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	if _, _, body := fetch(t, "GET", p.url+"/"); !strings.Contains(body, "Demo") || !strings.Contains(body, "simulated") {
		t.Errorf("the page does not say that this is the demo:\n%s", body)
	}
}

func TestLandingPageLinksToTheDocuments(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	_, _, page := fetch(t, "GET", p.url+"/")
	for _, path := range []string{"/docs/metrics.md", "/docs/configuration.md", "/docs/operation.md", "/alerts/README.md", "/docs/"} {
		status, header, body := fetch(t, "GET", p.url+path)
		if !strings.Contains(page, `href="`+path+`"`) || status != 200 || body == "" {
			t.Errorf("%s: status %d, %d bytes", path, status, len(body))
		}
		if got := header.Get("Content-Type"); strings.HasSuffix(path, ".md") && got != "text/plain; charset=utf-8" {
			t.Errorf("%s is of type %q", path, got)
		}
	}
	for _, path := range []string{"/docs/no.md", "/alerts/", "/docs/../main.go", "/docs/..%2fmain.go"} {
		if status, _, _ := fetch(t, "GET", p.url+path); status == 200 {
			t.Errorf("%s: status %d", path, status)
		}
	}
}
