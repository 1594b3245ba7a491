package collector

import "hash/maphash"

// Roster is the set of the members in one listing. It keeps a fingerprint of 64 bits
// of each id. With a million members, one listing in about forty million has a
// collision.
type Roster struct {
	seed    maphash.Seed
	members map[uint64]struct{}
}

// NewRoster returns an empty roster.
func NewRoster() *Roster {
	return &Roster{seed: maphash.MakeSeed(), members: map[uint64]struct{}{}}
}

// Next returns an empty roster that can be compared with this one. It has room for as
// many members.
func (r *Roster) Next() *Roster {
	return &Roster{seed: r.seed, members: make(map[uint64]struct{}, len(r.members))}
}

// Since returns how many members of r are not in earlier, and how many members of
// earlier are not in r.
func (r *Roster) Since(earlier *Roster) (joined, left int) {
	for member := range r.members {
		if _, ok := earlier.members[member]; !ok {
			joined++
		}
	}
	return joined, len(earlier.members) - (len(r.members) - joined)
}

// add reports whether the member with this id is new in the roster, and adds it.
func (r *Roster) add(id string) bool {
	before := len(r.members)
	r.members[maphash.String(r.seed, id)] = struct{}{}
	return len(r.members) > before
}
