package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestStopAnswersWhoHasConnected(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	address := strings.TrimPrefix(p.url, "http://")
	connect := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	silent, slow := connect(), connect()
	fmt.Fprintf(slow, "GET %s HTTP/1.1\r\n", healthyPath)
	p.scrape(t) // connects later, so that the other two were accepted by now
	go p.stop() // the end of the test waits for it
	for {       // until nobody can connect any more
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
	}
	fmt.Fprintf(silent, "GET %s HTTP/1.1\r\nHost: exporter\r\n\r\n", readyPath)
	fmt.Fprint(slow, "Host: exporter\r\n\r\n")
	for name, conn := range map[string]net.Conn{"silent": silent, "slow": slow} {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("a client that was %s got no answer: %v", name, err)
			continue
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("a client that was %s got status %d", name, answer.StatusCode)
		}
	}
}
