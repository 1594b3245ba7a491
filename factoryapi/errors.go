package factoryapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is the way in which a request failed.
type Kind string

const (
	// KindStatus: the API answered with a status of 300 or more.
	KindStatus Kind = "status"
	// KindTimeout: no complete answer came in time.
	KindTimeout Kind = "timeout"
	// KindConnection: there was no connection, or it broke.
	KindConnection Kind = "connection"
	// KindInvalidResponse: the API claimed success with something that is not what was
	// asked for.
	KindInvalidResponse Kind = "invalid_response"
)

// Error is a request that failed.
type Error struct {
	Kind Kind
	// StatusCode is the HTTP status, if there was an answer other than a 200.
	StatusCode int
	// RetryAfter is how long the API asks to wait before the next request. Zero if
	// it does not ask.
	RetryAfter time.Duration
	// Message is one line of at most maxMessage bytes, without the API key. It may
	// quote the answer.
	Message string
	// Hint is what to look at, if there is something that is often the cause.
	Hint string
}

func (e *Error) Error() string {
	text := string(e.Kind)
	if e.Kind == KindStatus {
		text = strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.StatusCode, http.StatusText(e.StatusCode)))
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Reason returns the failure in one word: the HTTP status, such as "401", or the kind.
func (e *Error) Reason() string {
	if e.Kind == KindStatus {
		return strconv.Itoa(e.StatusCode)
	}
	return string(e.Kind)
}

// Temporary reports whether the same request may succeed a little later.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case KindTimeout, KindConnection:
		return true
	case KindStatus:
		return e.StatusCode == http.StatusTooManyRequests || e.StatusCode >= 500 && e.StatusCode < 600
	}
	return false
}

// maxMessage bounds an Error's message, in bytes.
const maxMessage = 200

// errorMessage finds the message in an error body. The API document promises
// {detail, status, title, metadata}, other endpoints have errors: [{message}], and a proxy
// on the way may send anything. No other JSON is quoted, because it may hold somebody's
// address.
func errorMessage(body []byte) string {
	body = bytes.TrimLeftFunc(body, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == utf8.RuneError }) // such as a byte-order mark
	var documented struct {
		Detail, Title string
		Errors        json.RawMessage
	}
	if json.Unmarshal(body, &documented) == nil {
		var causes []struct{ Message string }
		_ = json.Unmarshal(documented.Errors, &causes) // of another form, they tell nothing
		var messages []string
		for _, cause := range causes {
			if cause.Message != "" {
				messages = append(messages, cause.Message)
			}
		}
		if message := cmp.Or(documented.Detail, strings.Join(messages, "; "), documented.Title); message != "" {
			return message
		}
	}
	if text := bytes.TrimSpace(body); len(text) > 0 && strings.IndexByte(`{["`, text[0]) < 0 {
		return string(text)
	}
	return ""
}

// bound makes a message one line of printable text, at most maxMessage bytes. An ellipsis
// marks a cut.
func bound(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) <= maxMessage {
		return text
	}
	const ellipsis = "…"
	end := maxMessage - len(ellipsis)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + ellipsis
}
