package census

import "time"

// ageBuckets are the upper bounds of the histogram of sign-in ages, in days.
var ageBuckets = [...]int{1, 3, 7, 14, 30, 60, 90, 180, 365} //nolint:gochecknoglobals // Go has no constant arrays

const day = 24 * time.Hour

// histogram is a number over all users who have one.
type histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // cumulative, by upper bound
}

// ageCounts gathers the histogram of sign-in ages, in seconds. It keeps seconds and
// nanoseconds as two whole numbers: a Duration cannot hold the sum of a large
// organization, and a sum of floats would depend on the order of the users.
type ageCounts struct {
	buckets              [len(ageBuckets)]uint64 // cumulative
	count                uint64
	seconds, nanoseconds int64
}

func (a *ageCounts) add(age time.Duration) {
	a.count++
	a.seconds += int64(age / time.Second)
	a.nanoseconds += int64(age % time.Second)
	for i, days := range ageBuckets {
		if age <= time.Duration(days)*day {
			a.buckets[i]++
		}
	}
}

func (a *ageCounts) histogram() histogram {
	h := histogram{
		Count:   a.count,
		Sum:     float64(a.seconds) + float64(a.nanoseconds)/1e9,
		Buckets: make(map[float64]uint64, len(ageBuckets)),
	}
	for i, days := range ageBuckets {
		h.Buckets[(time.Duration(days) * day).Seconds()] = a.buckets[i]
	}
	return h
}

// creditBuckets are the upper bounds of the histograms of credits.
var creditBuckets = [...]uint64{ //nolint:gochecknoglobals // Go has no constant arrays
	1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9,
}

// creditCounts gathers a histogram of credits.
type creditCounts struct {
	buckets    [len(creditBuckets)]uint64 // cumulative
	count, sum uint64
}

func (c *creditCounts) add(credits uint64) {
	c.count++
	c.sum += credits
	for i, bound := range creditBuckets {
		if credits <= bound {
			c.buckets[i]++
		}
	}
}

func (c *creditCounts) histogram() histogram {
	h := histogram{Count: c.count, Sum: float64(c.sum), Buckets: make(map[float64]uint64, len(creditBuckets))}
	for i, bound := range creditBuckets {
		h.Buckets[float64(bound)] = c.buckets[i]
	}
	return h
}
