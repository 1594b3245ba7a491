package factoryapi

import (
	"strings"
	"time"
)

// Page is one page of the list of users.
type Page struct {
	Users []User
	// HasMore tells whether another page follows; NextCursor is its cursor, and
	// empty if none does.
	HasMore    bool
	NextCursor string
}

// User is a member of the organization, as far as a count needs it: names are
// not read. The text of all users of a page shares memory; to keep some of it
// for long, [strings.Clone] it.
type User struct {
	// ID is the WorkOS user id. It is never empty.
	ID string
	// Email is empty if the API sent none.
	Email string
	// CreatedAt is when the account was made.
	CreatedAt Timestamp
	// LastSignInAt is when the user last authenticated; missing for one who
	// never did.
	LastSignInAt Timestamp
	// Metadata are the organization's own attributes of the user.
	Metadata Metadata
}

// Timestamp is a point in time that may be missing or unreadable. Its zero value
// is missing.
type Timestamp struct {
	// Time is in UTC. It means something only if State is Valid.
	Time  time.Time
	State TimestampState
}

// TimestampState says what became of a timestamp.
type TimestampState uint8

const (
	// Missing: the field was absent or null.
	Missing TimestampState = iota
	// Valid: the field held a timestamp.
	Valid
	// Invalid: the field held something else.
	Invalid
)

// ParseTimestamp reads RFC 3339, as far as [time.Parse] does: without leap seconds.
// There may be any number of fractional digits (those beyond nanoseconds are dropped),
// and the offset may lack its colon. The API document calls its timestamps ISO 8601.
func ParseTimestamp(text string) Timestamp {
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return Timestamp{t.UTC(), Valid}
		}
	}
	if upper := strings.ToUpper(text); upper != text { // RFC 3339 allows t and z as well
		return ParseTimestamp(upper)
	}
	return Timestamp{State: Invalid}
}

// Metadata are the attributes that an organization gave to a user: the text of a
// JSON object, read when it is asked. Its zero value holds none.
type Metadata struct{ object walker }

// Get returns the value of a key and whether there is one. Strings, numbers and
// booleans count, the latter by their text; whatever else the API may send does not.
func (m Metadata) Get(key string) (value string, ok bool) {
	w := m.object // a copy, so that it is read from its beginning each time
	for name := range w.members() {
		if name == key {
			value, ok = w.scalar()
		}
	}
	return value, ok
}
