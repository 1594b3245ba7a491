package collector

import (
	"context"
	"sync"
	"time"
)

// task runs a function that yields a T. There is never more than one run under way. A
// run goes on when all who waited for it have gone; only close cancels it.
type task[T any] struct {
	run     func(context.Context) (*T, error)
	timeout time.Duration   // of one run; zero means no bound
	ctx     context.Context // of all runs; close cancels it
	cancel  context.CancelFunc

	mu      sync.Mutex
	call    *call // the run under way, if any
	history history[T]
}

// call is a run under way.
type call struct {
	done      chan struct{}
	succeeded bool // guarded by task.mu
}

// history is what a task remembers of its runs that have ended. A canceled run says
// nothing and is not remembered.
type history[T any] struct {
	newest *T        // result of the newest run that succeeded, nil before
	ended  time.Time // when the newest run ended, zero before
	err    error     // of that run
}

func (h history[T]) up() bool { return h.err == nil && h.newest != nil }

func newTask[T any](timeout time.Duration, run func(context.Context) (*T, error)) *task[T] {
	t := &task[T]{run: run, timeout: timeout}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// join returns the run under way, and starts it if there is none. It returns nil if
// no run is due.
func (t *task[T]) join(due func(history[T]) bool) *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !due(t.history) {
		return nil
	}
	if t.call == nil && t.ctx.Err() == nil {
		t.call = &call{done: make(chan struct{})}
		go t.do(t.call)
	}
	return t.call
}

func (t *task[T]) do(c *call) {
	defer close(c.done)
	ctx := t.ctx
	if t.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.timeout)
		defer cancel()
	}
	result, err := t.run(ctx)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.call = nil
	if err != nil && t.ctx.Err() != nil {
		return
	}
	if err == nil {
		c.succeeded = true
		t.history.newest = result
	}
	t.history.ended, t.history.err = time.Now(), err
}

// underWay returns the run under way, nil if there is none.
func (t *task[T]) underWay() *call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.call
}

// state returns what is remembered, and whether a run is under way. c is a run that the
// caller has joined, or nil; succeeded tells whether it has ended well.
func (t *task[T]) state(c *call) (h history[T], inProgress, succeeded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.history, t.call != nil, c != nil && c.succeeded
}

// close cancels the run under way, if any, and waits for its end. No other run will
// start.
func (t *task[T]) close() {
	t.cancel()
	if call := t.underWay(); call != nil {
		<-call.done
	}
}

// age returns the time from then to now. The monotonic clock stops while a machine is
// suspended, and the wall clock may be set back, so the larger difference counts.
func age(then, now time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0))) // Round strips the monotonic clock
}
