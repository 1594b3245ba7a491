package fakeapi

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// The pace of the simulation, which slows down while the organization fills up.
const (
	demoUsers = 960  // at the start
	demoFull  = 1500 // approached within a day
	demoLeft  = 25   // who worked, but have left before the start

	demoJoin  = 30 * time.Second  // between two newcomers, at the start
	demoLeave = 120 * time.Second // between two leavers, likewise
	demoStop  = 240 * time.Second // between two members who sign in no more, likewise
	demoCrawl = 0.1               // of the pace at the start, at least

	demoStep    = time.Second
	demoCatchUp = day // the simulation skips what is further back
)

// Demo is an [http.Handler] around a [Server]: the API of a simulated organization. It
// has about 1,000 members in several teams and mail domains, and a past of two years.
// Every minute a few users sign in and somebody joins; now and then somebody leaves or
// loses interest. Some work every day without signing in, and some sign in and never work.
// A few consume most of the credits, and so does a team that has discovered a dear model.
//
// Pages of members take 20 to 60 ms. About one in 40 is refused with status 429, to be
// retried after a second, or 500.
//
// Nothing runs between requests: each one first catches up with the time that has passed.
// What happens, and when, depends on the seed and the start alone.
type Demo struct {
	server  *Server
	org     *Organization
	work    *Analytics
	began   time.Time // in the time of the organization
	started time.Time // when that was, by the clock on the wall

	mu        sync.Mutex
	generator *generator
	users     []demoUser
	lived     time.Time  // the simulation has reached this time
	moods     *rand.Rand // apart from the generator: requests must not change who joins
}

type demoUser struct {
	id    string
	habit habit
}

// NewDemo returns a demo that asks for this key and whose simulation begins at now.
func NewDemo(key string, seed uint64, now time.Time) *Demo {
	org := NewOrganization()
	left := newGenerator(^seed)
	d := &Demo{
		server:    NewServer(org, key),
		org:       org,
		work:      NewAnalytics(),
		began:     now,
		started:   time.Now().Round(0), // without the monotonic reading, which stands still while a laptop sleeps
		generator: newGenerator(seed),
		lived:     now,
		moods:     rand.New(rand.NewPCG(seed, 1)),
	}
	d.work.Now = d.now
	workers := make([]UserWork, 0, demoUsers)
	for range demoUsers {
		m, h := d.generator.user(now)
		d.join(m, h)
		workers = append(workers, worker(m, h, now))
	}
	// Somebody consumed credits who is no member: service accounts, and people who left.
	for i := range 3 {
		workers = append(workers, serviceAccount(fmt.Sprintf("user_01SERVICEACCOUNT000000000%d", i)))
	}
	for range demoLeft {
		m, h := left.user(now)
		workers = append(workers, worker(m, h, now))
	}
	d.work.Add(workers...)
	for i, w := range workers[len(workers)-demoLeft:] {
		d.work.Stop(w.ID, now.Add(-time.Duration(2*i)*day))
	}
	d.work.SetLimits(Limits{Global: 150_000_000, OfUsers: map[string]int{workers[0].Email: 600_000_000, workers[1].Email: 400_000_000}})
	d.server.SetAnalytics(d.work)
	d.server.Inject(Fault{Path: UsersPath, Serve: d.answer})
	return d
}

// Serve answers requests on l until stop is called.
func (d *Demo) Serve(l net.Listener) (stop func()) {
	server := &http.Server{Handler: d, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)                   //nolint:errcheck // ends with stop
	return func() { _ = server.Close() } // nothing is left to save
}

// ServeHTTP answers one request.
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.catchUp(d.now())
	d.server.ServeHTTP(w, r)
}

func (d *Demo) now() time.Time { return d.began.Add(time.Since(d.started)) }

func (d *Demo) catchUp(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if earliest := now.Add(-demoCatchUp); d.lived.Before(earliest) {
		d.lived = earliest
	}
	for next := d.lived.Add(demoStep); !next.After(now); next = next.Add(demoStep) {
		d.step(next)
		d.lived = next
	}
}

// step simulates one demoStep that ends at now.
func (d *Demo) step(now time.Time) {
	// Everybody gets a chance at the pace of daily users; those of other habits mostly
	// let it pass.
	if d.happens(daily.pause(), float64(len(d.users))) {
		m := oneOf(d.generator.rng, d.users)
		if pause := m.habit.pause(); pause > 0 && d.generator.rng.Float64() < daily.pause().Seconds()/pause.Seconds() {
			d.org.Update(m.id, func(m *User) { m.LastSignInAt = timestamp(now) })
		}
	}
	room := float64(demoFull-len(d.users)) / (demoFull - demoUsers)
	pace := max(room, demoCrawl)
	if d.happens(demoJoin, room) {
		m, h := d.generator.newcomer(now)
		d.join(m, h)
		d.work.Add(worker(m, h, now))
	}
	if d.happens(demoLeave, pace) {
		d.removeSomebody()
	}
	if d.happens(demoStop, pace) {
		if m := &d.users[d.generator.rng.IntN(len(d.users))]; m.habit != invited {
			m.habit = stopped
		}
	}
}

// happens reports whether this step sees an event whose mean distance is every, when it
// comes so many times as often.
func (d *Demo) happens(every time.Duration, times float64) bool {
	return d.generator.rng.Float64() < times*demoStep.Seconds()/every.Seconds()
}

func (d *Demo) join(m User, h habit) {
	d.org.Add(m)
	d.users = append(d.users, demoUser{id: m.ID, habit: h})
}

// removeSomebody lets a member leave, rather one who is not in every day.
func (d *Demo) removeSomebody() {
	i := d.generator.rng.IntN(len(d.users))
	if d.users[i].habit == daily {
		i = d.generator.rng.IntN(len(d.users))
	}
	d.org.Remove(d.users[i].id)
	d.work.Stop(d.users[i].id, d.lived)
	last := len(d.users) - 1
	d.users[i] = d.users[last]
	d.users = d.users[:last]
}

// answer is a [Behavior] that sends the page after a moment, or refuses it.
func (d *Demo) answer(w http.ResponseWriter, r *http.Request, page []byte) {
	d.mu.Lock()
	delay := 20*time.Millisecond + time.Duration(d.moods.Int64N(int64(40*time.Millisecond)))
	mood := d.moods.IntN(80)
	d.mu.Unlock()

	if !wait(r.Context(), delay) {
		return
	}
	switch mood {
	case 0:
		Status(http.StatusTooManyRequests, "Retry-After", "1")(w, r, page)
	case 1:
		Status(http.StatusInternalServerError)(w, r, page)
	default:
		send(w, http.StatusOK, page)
	}
}
