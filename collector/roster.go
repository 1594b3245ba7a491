package collector

import (
	"hash/maphash"
	"math/bits"

	"factory_exporter/factoryapi"
)

// Roster is the set of the members in one listing. It keeps a fingerprint of 64 bits
// of each id. With a million members, one listing in about forty million has a
// collision.
//
// It is a hash table with linear probing, in which the place of a fingerprint is
// proportional to it. A map would hash the fingerprint again, and comparing two maps
// would read memory in random order; two rosters are read from end to end.
type Roster struct {
	seed  maphash.Seed
	slots []uint64 // fingerprints; 0 is a free slot
	size  int
}

// minSlots is the size of the smallest table.
const minSlots = 64

// NewRoster returns an empty roster.
func NewRoster() *Roster {
	return &Roster{seed: maphash.MakeSeed(), slots: make([]uint64, minSlots)}
}

// Next returns an empty roster that can be compared with this one, with room for
// as many members.
func (r *Roster) Next() *Roster {
	return &Roster{seed: r.seed, slots: make([]uint64, max(minSlots, r.size+r.size/2))}
}

// Since returns how many members of r are not in earlier, and the reverse.
func (r *Roster) Since(earlier *Roster) (joined, left int) {
	for _, fingerprint := range r.slots {
		if fingerprint != 0 && *earlier.slot(fingerprint) == 0 {
			joined++
		}
	}
	return joined, earlier.size - (r.size - joined)
}

// add puts users into the roster and tells of each whether its id is new there. It
// takes many, because the slots of a large roster are far from the processor, which
// waits for several at once where nothing else happens in between.
func (r *Roster) add(users []factoryapi.User) (isNew []bool) {
	isNew = make([]bool, len(users))
	for i := range users {
		fingerprint := max(1, maphash.String(r.seed, users[i].ID))
		slot := r.slot(fingerprint)
		if *slot == fingerprint {
			continue
		}
		*slot = fingerprint
		isNew[i] = true
		r.size++
		if r.size > len(r.slots)/4*3 {
			r.grow()
		}
	}
	return isNew
}

// slot returns the one that holds the fingerprint, or the free one where it belongs.
func (r *Roster) slot(fingerprint uint64) *uint64 {
	i, _ := bits.Mul64(fingerprint, uint64(len(r.slots)))
	for r.slots[i] != fingerprint && r.slots[i] != 0 {
		if i++; i == uint64(len(r.slots)) {
			i = 0
		}
	}
	return &r.slots[i]
}

func (r *Roster) grow() {
	old := r.slots
	r.slots = make([]uint64, 2*len(old))
	for _, fingerprint := range old {
		if fingerprint != 0 {
			*r.slot(fingerprint) = fingerprint
		}
	}
}
