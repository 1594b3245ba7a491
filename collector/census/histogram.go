package census

import "time"

const day = 24 * time.Hour

// ageBounds are the upper bounds of the histogram of sign-in ages: 1, 3, 7, 14, 30, 60,
// 90, 180 and 365 days, in seconds.
func ageBounds() []uint64 {
	const day = uint64(day / time.Second)
	return []uint64{1 * day, 3 * day, 7 * day, 14 * day, 30 * day, 60 * day, 90 * day, 180 * day, 365 * day}
}

// wholeSeconds rounds an age up, so that it is on the same side of each bound.
func wholeSeconds(age time.Duration) uint64 {
	seconds := uint64(age / time.Second)
	if age%time.Second > 0 {
		seconds++
	}
	return seconds
}

func creditBounds() []uint64 {
	return []uint64{1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9}
}

// histogram is a whole number over all users who have one.
type histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // cumulative, by upper bound
}

// sample gathers a histogram. It adds whole numbers: a sum of floats would depend on the
// order of the users.
type sample struct {
	bounds, buckets []uint64 // buckets are cumulative
	count, sum      uint64
}

func newSample(bounds []uint64) sample {
	return sample{bounds: bounds, buckets: make([]uint64, len(bounds))}
}

func (s *sample) add(n uint64) {
	s.count++
	s.sum += n
	for i, bound := range s.bounds {
		if n <= bound {
			s.buckets[i]++
		}
	}
}

func (s *sample) histogram() histogram {
	h := histogram{Count: s.count, Sum: float64(s.sum), Buckets: make(map[float64]uint64, len(s.bounds))}
	for i, bound := range s.bounds {
		h.Buckets[float64(bound)] = s.buckets[i]
	}
	return h
}
