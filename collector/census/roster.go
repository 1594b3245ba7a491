package census

import (
	"hash/maphash"
	"maps"
	"slices"
)

// Roster remembers who was in a listing: a fingerprint of 64 bits of each id. With a
// million users, one listing in about forty million has a collision.
type Roster struct {
	seed  maphash.Seed
	users []uint64
}

// Roster returns who was counted.
func (c *Census) Roster() *Roster {
	return &Roster{c.earlier.seed, slices.AppendSeq(make([]uint64, 0, len(c.seen)), maps.Keys(c.seen))}
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
