package chart_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// mounts is where the chart mounts what the exporter reads.
const mounts = "/etc/factory_exporter/"

// startContainer runs the exporter as a container of the chart does, but with its mounts
// in root.
func startContainer(t *testing.T, container corev1.Container, root string) (address string) {
	t.Helper()
	var args []string
	for _, arg := range container.Args {
		args = append(args, strings.Replace(arg, "="+mounts, "="+root+"/", 1))
	}
	return start(t, nil, args...)
}

var listeningOn = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// start runs the exporter with variables ("NAME=value") and arguments, and returns the
// address that it listens on. An exporter that ends by itself fails the test.
func start(t *testing.T, env []string, args ...string) (address string) {
	t.Helper()
	cmd := exec.Command(exporter, append(args, "--web.listen-address=127.0.0.1:0")...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "FACTORY_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tooLate := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // its output ends, and so the test
	var log strings.Builder                                                   // to be read once addresses is closed
	addresses := make(chan string, 1)
	go func() {
		defer close(addresses)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if found := listeningOn.FindStringSubmatch(lines.Text()); found != nil {
				addresses <- found[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		for range addresses {
		}
		tooLate.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", cmd, err, &log)
		}
	})
	address, ok := <-addresses
	if !ok {
		t.FailNow() // the clean-up tells why
	}
	return address
}

// write writes files, by name, to a new directory.
func write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// get returns the status and the body of a page.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// serveAPI serves an organization of one member to whoever has the key, and returns the
// URL.
func serveAPI(t *testing.T, key string) string {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"users": [{"id": "u1", "createdAt": "2026-01-02T03:04:05Z"}], "pagination": {"hasMore": false}}`)
	}))
	t.Cleanup(api.Close)
	return api.URL
}
