package server

import (
	"net/http"
	"strings"
	"testing"

	"factory_exporter/factoryapi/fakeapi"
)

func TestLandingPageTellsHowTheLastListingWent(t *testing.T) {
	e := newExporter(t, settings{members: 1})
	expect := func(want string) {
		t.Helper()
		if _, _, body := get(t, e.network, "/"); !strings.Contains(body, want) || strings.Contains(body, "Demo") {
			t.Errorf("want %q in\n%s", want, body)
		}
	}
	expect("No listing of the members has ended yet")
	e.scrape(t)
	expect("Members found: 1.")
	e.api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusForbidden)})
	e.scrape(t)
	expect("(403). The log tells more.")
}

func TestLandingPageOfTheDemoSaysSo(t *testing.T) {
	e := newExporter(t, settings{server: Config{Demo: true}})
	if _, _, body := get(t, e.network, "/"); !strings.Contains(body, "Demo") || !strings.Contains(body, "simulated") {
		t.Errorf("the page does not say that this is the demo:\n%s", body)
	}
}
