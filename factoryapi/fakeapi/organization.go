package fakeapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
)

// User is one as the API sends it; the fields are those of the API document.
type User struct {
	ID        string `json:"id"` // a WorkOS user id
	Email     string `json:"email"`
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`

	// Timestamps are sent as they are, ISO 8601 or not.
	CreatedAt    string `json:"createdAt"`
	LastSignInAt string `json:"lastSignInAt,omitempty"`

	Metadata map[string]string `json:"metadata"` // {} when nil

	// Raw holds fields to send in place of or beside those above, for what the document
	// does not allow: null, numbers, unknown fields. A nil value removes the field.
	Raw map[string]json.RawMessage `json:"-"`
}

// Organization is a list of members in the order in which they were added, which is that
// of the API. It is safe for concurrent use. Its zero value has no members.
//
// The maps of its members may be read, and changed only within Update.
type Organization struct {
	mu      sync.RWMutex
	entries []entry // by number, ascending
	taken   uint64  // the highest number given out
}

// NewOrganization returns an organization of these members.
func NewOrganization(users ...User) *Organization {
	o := new(Organization)
	o.Add(users...)
	return o
}

// Add puts members at the end of the list, also those that are there already.
func (o *Organization) Add(users ...User) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entries = slices.Grow(o.entries, len(users))
	for _, m := range users {
		o.taken++
		o.entries = append(o.entries, entry{number: o.taken, user: m, json: m.json()})
	}
}

// Remove takes all members with one of these ids off the list.
func (o *Organization) Remove(ids ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entries = slices.DeleteFunc(o.entries, func(e entry) bool { return slices.Contains(ids, e.user.ID) })
}

// Update lets change change the first member that has this id, if there is one. Its maps
// are never nil. change must not call the organization.
func (o *Organization) Update(id string, change func(*User)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.entries, func(e entry) bool { return e.user.ID == id })
	if i < 0 {
		return
	}
	m := o.entries[i].user
	m.Metadata, m.Raw = copied(m.Metadata), copied(m.Raw) // Users may have handed out the old maps
	change(&m)
	o.entries[i].user, o.entries[i].json = m, m.json()
}

func copied[M map[string]V, V any](from M) M {
	to := make(M, len(from))
	maps.Copy(to, from)
	return to
}

// Users returns the users as they are now, in the order of the list.
func (o *Organization) Users() []User {
	o.mu.RLock()
	defer o.mu.RUnlock()
	users := make([]User, len(o.entries))
	for i, e := range o.entries {
		users[i] = e.user
	}
	return users
}

// entry is a place in the list. Its number is never used again, so a cursor that holds it
// keeps its position.
type entry struct {
	number uint64
	user   User
	json   []byte // the user as the API sends it
}

// page is one answer of a listing.
type page struct {
	number int // from 1
	last   bool
	body   []byte
}

// page returns the page of up to limit members that begins at from.
func (o *Organization) page(from cursor, limit int) page {
	o.mu.RLock()
	defer o.mu.RUnlock()
	first := sort.Search(len(o.entries), func(i int) bool { return o.entries[i].number > from.after })
	end := min(first+limit, len(o.entries))
	last := end == len(o.entries)
	pagination := map[string]any{"hasMore": !last, "nextCursor": nil}
	if !last {
		pagination["nextCursor"] = cursor{after: o.entries[end-1].number, page: from.page + 1}.String()
	}
	// The members are JSON already. To check them again takes longer than the client does.
	body := append(make([]byte, 0, 32<<10), `{"users":[`...)
	for i, e := range o.entries[first:end] {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.json...)
	}
	body = append(append(append(body, `],"pagination":`...), marshal(pagination)...), '}')
	return page{number: from.page, last: last, body: body}
}

// cursor is a position between two entries. Its text has characters that a client must
// escape in a query, and an escape that must not be undone twice.
type cursor struct {
	after uint64 // the number of the entry before the page
	page  int    // the number of the page
}

// cursorForm needs no escapes in JSON, as almost no page of the real API has any.
const cursorForm = "after+%d/page=%d#100%%25"

func (c cursor) String() string { return fmt.Sprintf(cursorForm, c.after, c.page) }

// parseCursor accepts only what String returns.
func parseCursor(text string) (cursor, error) {
	var c cursor
	if _, err := fmt.Sscanf(text, cursorForm, &c.after, &c.page); err != nil || c.String() != text {
		return cursor{}, fmt.Errorf("cursor: %q is unknown", text)
	}
	return c, nil
}

func (m User) json() []byte {
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	object := marshal(m)
	if len(m.Raw) == 0 {
		return object
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		panic(err) // it was made here
	}
	maps.Copy(fields, m.Raw)
	maps.DeleteFunc(fields, func(_ string, value json.RawMessage) bool { return value == nil })
	return marshal(fields)
}

func marshal(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // only a raw field of a test can fail
	}
	return text
}
