package census_test

import (
	"encoding/json"
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

func TestAttributesOfOneNameAreEqual(t *testing.T) {
	same := harness.Attributes(t, "metadata.team", "metadata.team", "metadata.Team", "email_domain")
	if same[0] != same[1] || same[0] == same[2] || same[0] == same[3] {
		t.Errorf("attributes %q", same)
	}
}

func TestAttributeEmailDomain(t *testing.T) {
	for address, want := range map[string]string{
		"ada@acme.example":      "acme.example",
		"Ada@Labs.ACME.Example": "labs.acme.example",
		`"a@b"@acme.example`:    "acme.example",
		"@acme.example":         "acme.example",
		"ada@":                  "",
		"acme.example":          "",
		"":                      "",
		"ada@BÜCHER.example":    "bücher.example",
		"ada@हिन्दी.भारत":       "हिन्दी.भारत",
		"ada@10.0.0.1":          "10.0.0.1",
		"ada@my_host-1":         "my_host-1",
		" ada@acme.example\n":   "acme.example",
		"ada@ acme.example . ":  "",
		"ada@acme.example.":     "acme.example",
		"ada@acme.example. ":    "acme.example",
		"ada@.":                 "",

		"ada@acme.example (Ada Lovelace)":    "",
		"Ada Lovelace <ada@acme.example>":    "",
		"ada@acme.example, bob@acme.example": "acme.example",
		"ada@[10.0.0.1]":                     "",
		"ada@acme.example/x":                 "",
		"ada@(other)":                        "",
		"ada@acme.example\ufffd":             "",
	} {
		if got := harness.Attributes(t, "email_domain")[0].Of(&factoryapi.User{Email: address}); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestAttributeMetadata(t *testing.T) {
	metadata := func(object string) fakeapi.Member {
		return fakeapi.Member{ID: "user_1", Raw: map[string]json.RawMessage{"metadata": json.RawMessage(object)}}
	}
	for _, tt := range []struct {
		name      string
		attribute string
		member    fakeapi.Member
		want      string
	}{
		{"as it is", "metadata.team", metadata(`{"team":" Data & AI "}`), " Data & AI "},
		{"no such key", "metadata.team", metadata(`{"Team":"x","teams":"y","tea":"z"}`), ""},
		{"empty", "metadata.team", metadata(`{"team":""}`), ""},
		{"a key with dots", "metadata.a.b", metadata(`{"a":{"b":"no"},"a.b":"yes"}`), "yes"},
		{"a key with a prefix of its own", "metadata.metadata.team", metadata(`{"metadata.team":"x"}`), "x"},
		{"a number by its text", "metadata.cost", metadata(`{"cost":1.50}`), "1.50"},
		{"a boolean by its text", "metadata.admin", metadata(`{"admin":false}`), "false"},
		{"null", "metadata.team", metadata(`{"team":null}`), ""},
		{"an object", "metadata.team", metadata(`{"team":{"team":"x"}}`), ""},
		{"an array", "metadata.team", metadata(`{"team":["x"]}`), ""},
		{"metadata is null", "metadata.team", metadata(`null`), ""},
		{"metadata is absent", "metadata.team", metadata(""), ""},
		{"metadata is no object", "metadata.team", metadata(`"team"`), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.member.Raw["metadata"]) == 0 {
				tt.member.Raw["metadata"] = nil // removes the field
			}
			users := harness.Users(t, tt.member)
			if got := harness.Attributes(t, tt.attribute)[0].Of(&users[0]); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
