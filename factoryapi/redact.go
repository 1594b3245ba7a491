package factoryapi

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
)

// redact removes the key from text of the other side, in whatever case its letters are:
// the key as it is, quoted, escaped for a URL, in base64 or in hex, and each part of
// these that is long enough to be of use.
func redact(text, key string) string {
	telling := min(6, len(key)) // length of the shortest part to remove
	if telling == 0 {
		return text
	}
	quoted := strconv.Quote(key)
	forms := []string{key, quoted[1 : len(quoted)-1], url.QueryEscape(key), url.PathEscape(key), hex.EncodeToString([]byte(key))}
	for i := range min(3, len(key)) { // where the key may begin in a group of three bytes
		forms = append(forms, base64.RawStdEncoding.EncodeToString([]byte(key[i:])), base64.RawURLEncoding.EncodeToString([]byte(key[i:])))
	}
	all, lower := lowerASCII(strings.Join(forms, "\n")), lowerASCII(text)
	var kept strings.Builder
	end := 0 // of the part to remove
	for i := range len(text) {
		if i+telling <= len(text) && strings.Contains(all, lower[i:i+telling]) {
			if i >= end {
				kept.WriteString("[redacted]")
			}
			end = i + telling
		}
		if i >= end {
			kept.WriteByte(text[i])
		}
	}
	return kept.String()
}

// lowerASCII keeps the length of text, which strings.ToLower may change.
func lowerASCII(text string) string {
	lower := []byte(text)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}
