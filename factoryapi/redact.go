package factoryapi

import (
	"net/url"
	"strconv"
	"strings"
)

// redact removes the key from text of the other side: the key as it is, quoted, or
// escaped for a URL, and each part of these that is long enough to be of use.
func redact(text, key string) string {
	telling := min(6, len(key)) // length of the shortest part to remove
	if telling == 0 {
		return text
	}
	quoted := strconv.Quote(key)
	forms := strings.Join([]string{key, quoted[1 : len(quoted)-1], url.QueryEscape(key), url.PathEscape(key)}, "\n")
	var kept strings.Builder
	end := 0 // of the part to remove
	for i := range len(text) {
		if i+telling <= len(text) && strings.Contains(forms, text[i:i+telling]) {
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
