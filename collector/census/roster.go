package census

// Roster remembers who was in a listing: a fingerprint of 64 bits of each id, ascending.
// With a million users, one listing in about forty million has a collision.
type Roster []uint64

// Since returns how many users of r are not in earlier, and how many users of earlier are
// not in r.
func (r Roster) Since(earlier Roster) (joined, left int) {
	for len(r) > 0 && len(earlier) > 0 {
		switch {
		case r[0] < earlier[0]:
			joined++
			r = r[1:]
		case r[0] > earlier[0]:
			left++
			earlier = earlier[1:]
		default:
			r, earlier = r[1:], earlier[1:]
		}
	}
	return joined + len(r), left + len(earlier)
}
