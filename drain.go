package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// drain lets a server end without losing a request. Shutdown alone drops the requests
// that were not read yet on connections that were accepted. In a restart under a socket of
// systemd, clients would see that.
type drain struct {
	mu        sync.Mutex
	began     bool
	listeners []net.Listener
	busy      map[net.Conn]struct{} // those whose request is awaited or being answered
}

func newDrain() *drain { return &drain{busy: map[net.Conn]struct{}{}} }

// add adds a listener that the server is about to accept connections from.
func (d *drain) add(l net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listeners = append(d.listeners, l)
	if d.began {
		_ = l.Close()
	}
}

// note notes the state of a connection. It is for http.Server.ConnState.
func (d *drain) note(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		d.busy[c] = struct{}{}
	} else {
		delete(d.busy, c)
	}
}

// begin closes the listeners. Then Serve returns net.ErrClosed, and there are no more
// connections to come.
func (d *drain) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = true
	for _, l := range d.listeners {
		_ = l.Close()
	}
}

// wait waits until no connection is busy, or ctx ends.
func (d *drain) wait(ctx context.Context) {
	for ctx.Err() == nil && d.isBusy() {
		time.Sleep(5 * time.Millisecond)
	}
}

func (d *drain) isBusy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.busy) > 0
}
