package census

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"factory_exporter/factoryapi"
)

// Attribute is a property that members can be grouped by. Make one with
// [ParseAttribute].
type Attribute struct {
	metadataKey string // empty: the domain of the mail address
}

const (
	emailDomain    = "email_domain"
	metadataPrefix = "metadata."
)

// ParseAttribute reads an attribute's name: "email_domain" or "metadata.KEY".
func ParseAttribute(name string) (Attribute, error) {
	if name == emailDomain {
		return Attribute{}, nil
	}
	key, ok := strings.CutPrefix(name, metadataPrefix)
	if !ok || key == "" {
		return Attribute{}, fmt.Errorf("%q is neither %s nor %sKEY", name, emailDomain, metadataPrefix)
	}
	if !utf8.ValidString(key) { // neither a label nor a key in JSON can be that
		return Attribute{}, fmt.Errorf("%q is not valid UTF-8", name)
	}
	return Attribute{metadataKey: key}, nil
}

// String returns the name that ParseAttribute read.
func (a Attribute) String() string {
	if a.metadataKey == "" {
		return emailDomain
	}
	return metadataPrefix + a.metadataKey
}

// Of returns the user's value of the attribute: the domain of the mail address, or the
// value in the metadata as it is. It returns an empty text if there is none.
func (a Attribute) Of(user *factoryapi.User) string {
	if a.metadataKey != "" {
		value, _ := user.Metadata.Get(a.metadataKey)
		return value
	}
	at := strings.LastIndexByte(user.Email, '@')
	if at < 0 {
		return ""
	}
	return domain(user.Email[at+1:])
}

// domain returns text as a domain in lower case, without blanks around it and dots at
// its end. It returns an empty text if text is not a domain.
func domain(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ".")
	foreign := func(r rune) bool {
		return !unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit) && !strings.ContainsRune("-_.", r)
	}
	if strings.ContainsFunc(text, foreign) {
		return ""
	}
	return strings.ToLower(text)
}
