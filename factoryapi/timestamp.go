package factoryapi

import (
	"strings"
	"time"
)

// Timestamp is a point in time that may be missing or unreadable. Its zero value
// is missing.
type Timestamp struct {
	// Time is in UTC. It means something only if State is Valid.
	Time  time.Time
	State TimestampState
}

// TimestampState says whether a timestamp is known.
type TimestampState uint8

const (
	// Missing: the field was absent, null, or a text that stands for "none".
	Missing TimestampState = iota
	// Valid: the field held a timestamp.
	Valid
	// Invalid: the field held something else.
	Invalid
)

// ParseTimestamp reads RFC 3339 as [time.Parse] does, which is without leap seconds.
// Any number of fractional digits is fine; digits beyond nanoseconds are dropped. The
// offset may lack its colon. The API document calls its timestamps ISO 8601.
//
// Some languages write a date in place of "none": an empty text, the year 1, or the
// start of 1970. So an empty text and a time that is not after 1970-01-01T00:00:00Z
// are missing timestamps.
func ParseTimestamp(text string) Timestamp {
	if text == "" {
		return Timestamp{}
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			if !t.After(time.Unix(0, 0)) {
				return Timestamp{}
			}
			return Timestamp{t.UTC(), Valid}
		}
	}
	if upper := strings.ToUpper(text); upper != text { // RFC 3339 allows t and z as well
		return ParseTimestamp(upper)
	}
	return Timestamp{State: Invalid}
}
