package census

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
)

// fingerprint is of an id. As bytes, it takes half of the memory in a map that a number
// takes, which is padded there.
type fingerprint [8]byte

func fingerprintOf(seed maphash.Seed, id string) (f fingerprint) {
	binary.NativeEndian.PutUint64(f[:], maphash.String(seed, id))
	return f
}

// Roster remembers who was in a listing: a fingerprint of 64 bits of each id. With a
// million users, one listing in about forty million has a collision.
type Roster struct {
	seed  maphash.Seed
	users []fingerprint
}

// Roster returns who was counted.
func (c *Census) Roster() *Roster {
	return &Roster{c.earlier.seed, slices.AppendSeq(make([]fingerprint, 0, len(c.seen)), maps.Keys(c.seen))}
}

// Since returns how many users were counted and are not in the earlier roster, and how
// many are in it and were not counted.
func (c *Census) Since() (joined, left int) {
	for _, user := range c.earlier.users {
		if _, stayed := c.seen[user]; !stayed {
			left++
		}
	}
	return len(c.seen) - (len(c.earlier.users) - left), left
}
