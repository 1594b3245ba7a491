package census

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

const (
	// maxLabelValue bounds label values that come from the API, in bytes.
	maxLabelValue = 128
	// shortMark stands between the beginning of a shortened value and its hash.
	shortMark = "…"
	hashBytes = 16
)

// LabelValue makes a label value of text from the API. The label value is valid UTF-8
// and at most maxLabelValue bytes long. If text is longer, a cryptographic hash of all
// of it takes the place of the rest. Different texts have different label values: a
// text that looks as if it were shortened gets a hash as well.
func LabelValue(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxLabelValue && !looksShortened(text) {
		return text
	}
	hash := sha256.Sum256([]byte(text))
	suffix := shortMark + hex.EncodeToString(hash[:hashBytes])
	end := min(len(text), maxLabelValue-len(suffix))
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + suffix
}

func looksShortened(text string) bool {
	i := strings.LastIndex(text, shortMark)
	if i < 0 {
		return false
	}
	hash, err := hex.DecodeString(text[i+len(shortMark):])
	return err == nil && len(hash) == hashBytes
}
