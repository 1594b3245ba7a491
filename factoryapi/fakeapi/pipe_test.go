package fakeapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestPipeKeepsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := servePipe(t, fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(3, 1, noon())...), key))
		transport := &http.Transport{DialContext: pipe.DialContext}
		defer transport.CloseIdleConnections()
		for range 3 {
			body, err := read(t.Context(), &http.Client{Transport: transport}, "http://factory")
			if err != nil || len(body) == 0 {
				t.Fatalf("%d bytes, error %v", len(body), err)
			}
			time.Sleep(10 * time.Second)
		}
		if got := pipe.Dials(); got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

func TestPipeDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := fakeapi.NewPipe()
		defer pipe.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := pipe.DialContext(ctx, "tcp", "factory:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if got := pipe.Dials(); got != 0 {
			t.Errorf("%d connections", got)
		}
	})
}

func TestPipeClosed(t *testing.T) {
	pipe := fakeapi.NewPipe()
	waiting := make(chan error)
	go func() {
		_, err := pipe.Accept()
		waiting <- err
	}()
	for range 2 {
		if err := pipe.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := pipe.DialContext(t.Context(), "tcp", "factory:80"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial: %v", err)
	}
	if got := pipe.Addr(); got.Network() != "pipe" || got.String() != "pipe" {
		t.Errorf("address %v of network %v", got, got.Network())
	}
}

// servePipe serves handler on a Pipe until the test ends.
func servePipe(t *testing.T, handler http.Handler) *fakeapi.Pipe {
	t.Helper()
	pipe, stop := fakeapi.Serve(handler)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return pipe
}
