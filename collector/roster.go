package collector

import "hash/maphash"

// Roster is the set of the members that one listing met. Of each id it keeps a
// fingerprint of 64 bits: of a million members, two share one in a listing of
// about forty million.
type Roster struct {
	seed maphash.Seed
	ids  map[uint64]struct{}
}

// NewRoster returns an empty roster.
func NewRoster() *Roster {
	return &Roster{seed: maphash.MakeSeed(), ids: map[uint64]struct{}{}}
}

// Next returns an empty roster that can be compared with this one, with room for
// as many members.
func (r *Roster) Next() *Roster {
	return &Roster{seed: r.seed, ids: make(map[uint64]struct{}, len(r.ids))}
}

// Since returns how many members of r are not in earlier, and the reverse.
func (r *Roster) Since(earlier *Roster) (joined, left int) {
	for id := range r.ids {
		if _, stayed := earlier.ids[id]; !stayed {
			joined++
		}
	}
	return joined, len(earlier.ids) - (len(r.ids) - joined)
}

// add reports whether the id is new to the roster.
func (r *Roster) add(id string) bool {
	before := len(r.ids)
	r.ids[maphash.String(r.seed, id)] = struct{}{}
	return len(r.ids) > before
}
