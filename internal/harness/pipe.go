package harness

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Pipe is a network in memory: a [net.Listener] whose connections come from its own
// DialContext, which fits [net/http.Transport]. It is for tests under testing/synctest,
// where a goroutine that waits for a real socket keeps the fake clock from moving.
type Pipe struct {
	accept chan net.Conn
	closed chan struct{}
	close  sync.Once
	dials  atomic.Int64
}

var _ net.Listener = (*Pipe)(nil)

// NewPipe returns an open Pipe. Under synctest it has to be made within the bubble.
func NewPipe() *Pipe {
	return &Pipe{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for a connection. After Close the error is [net.ErrClosed].
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// DialContext connects to the Pipe. It ignores the network and the address. It waits
// until somebody does, the context ends or the Pipe is closed.
func (p *Pipe) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	var err error
	select {
	case p.accept <- server:
		p.dials.Add(1)
		return client, nil
	case <-p.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = client.Close() // never fails
	_ = server.Close()
	return nil, err
}

// Dials returns the number of connections opened so far.
func (p *Pipe) Dials() int { return int(p.dials.Load()) }

// Close ends Accept and DialContext, waiting and future ones. Open connections stay open.
// It returns nil, also when the Pipe is closed already.
func (p *Pipe) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

// Addr returns an address that names the Pipe.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
