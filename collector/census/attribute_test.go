package census_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestParseAttribute(t *testing.T) {
	for _, name := range []string{"email_domain", "metadata.team", "metadata.cost center", "metadata.a.b", "metadata.metadata.", "metadata..", "metadata.Größe"} {
		attribute, err := census.ParseAttribute(name)
		if err != nil || attribute.String() != name {
			t.Errorf("%q becomes %q, error %v", name, attribute, err)
		}
	}
	for _, name := range []string{"", "metadata", "metadata.", "Metadata.team", "team", "email", "Email_Domain", " email_domain", "email_domain ", "metadata.\xff", "metadata.team\xc3"} {
		_, err := census.ParseAttribute(name)
		if err == nil {
			t.Errorf("%q is accepted", name)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, strconv.Quote(name)) || !utf8.ValidString(text) {
			t.Errorf("%q: the error does not name it in one line: %s", name, text)
		}
	}
}

func TestAttributeEmailDomain(t *testing.T) {
	for address, want := range map[string]string{
		"ada@acme.example":      "acme.example",
		"Ada@Labs.ACME.Example": "labs.acme.example",
		`"a@b"@acme.example`:    "acme.example",
		"ada@":                  "",
		"acme.example":          "",
		"ada@BÜCHER.example":    "bücher.example",
		"ada@हिन्दी.भारत":       "हिन्दी.भारत",
		"ada@my_host-1":         "my_host-1",
		" ada@acme.example\n":   "acme.example",
		"ada@ acme.example . ":  "",
		"ada@acme.example. ":    "acme.example",
		"ada@.":                 "",

		"ada@acme.example (Ada Lovelace)":    "",
		"Ada Lovelace <ada@acme.example>":    "",
		"ada@acme.example, bob@acme.example": "acme.example",
		"ada@[10.0.0.1]":                     "",
		"ada@(other)":                        "",
		"ada@acme.example\ufffd":             "",
	} {
		if got := harness.Attributes(t, "email_domain")[0].Of(&factoryapi.User{Email: address}); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// What Get makes of values that are no text is told in factoryapi/users_test.go.
func TestAttributeMetadata(t *testing.T) {
	user := harness.Users(t, fakeapi.User{ID: "user_1", Metadata: map[string]string{"team": " Data & AI ", "a.b": "yes", "metadata.team": "x", "Site": "y"}})[0]
	for name, want := range map[string]string{
		"metadata.team": " Data & AI ", "metadata.a.b": "yes", "metadata.metadata.team": "x", "metadata.site": "", "metadata.a": "",
	} {
		if got := harness.Attributes(t, name)[0].Of(&user); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
