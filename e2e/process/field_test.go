package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

const scrapeRequest = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

func TestLogReaderThatGoesIsNotTheEnd(t *testing.T) {
	t.Parallel()
	api := newAPI()
	p, log := startWithLog(t, serve(t, api), "--factory.max-retries=0")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{401, 403, 404, 500, 502} { // each is a line
		api.ClearFaults()
		api.Inject(fakeapi.Fault{Serve: fakeapi.Status(status)})
		if up, ok := p.Scrape(t)["factory_up"]; !ok || up != 0 {
			t.Fatalf("factory_up is %g (there: %t), want 0", up, ok)
		}
	}
	api.ClearFaults()
	checkListed(t, "without a log", p.Scrape(t))
	stop(t, p, syscall.SIGTERM)
}

func TestKeyFileOnAMountThatHangsDoesNoHarm(t *testing.T) {
	t.Parallel()
	if !canMount(t) {
		t.Log("not checked, because nothing can be mounted here")
		return
	}
	api := serve(t, newAPI())
	dir := t.TempDir()
	keyFile, mount := filepath.Join(dir, "key"), filepath.Join(dir, "mount")
	writeFile(t, keyFile, harness.Key+"\n")
	p := process.Serve(t, nil, exporter, "--factory.url="+api, "--factory.api-key-file="+keyFile)
	checkListed(t, "before", p.Scrape(t))
	if err := errors.Join(os.Mkdir(mount, 0o700), os.Remove(keyFile), os.Symlink(mount+"/key", keyFile)); err != nil {
		t.Fatal(err)
	}
	hang(t, mount)
	for range 2 {
		checkListed(t, "with the last good key", p.Scrape(t))
	}
	const says = "could not be read in time"
	log := p.Stderr.String()
	if complaints := strings.Count(log, "Cannot read the API key file"); complaints != 1 || !strings.Contains(log, says) {
		t.Errorf("the log complains %d times, want once about %q:\n%s", complaints, says, log)
	}
	stop(t, p, syscall.SIGTERM)

	// It does not start with such a file, and says so.
	p = process.Start(t, nil, exporter, "--web.listen-address=127.0.0.1:0", "--factory.url="+api, "--factory.api-key-file="+keyFile)
	if code := p.Wait(t); code != 1 {
		t.Errorf("the start ends with exit code %d, want 1", code)
	}
	if line := p.Stderr.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "--factory.api-key-file") || !strings.Contains(line, says) {
		t.Errorf("the start says %q", line)
	}
}

func TestManyScrapesAtOnceTakeLittleMoreThanOne(t *testing.T) {
	t.Parallel()
	const size = 3000 // so that no scrape waits for its turn too long on a machine that is busy
	members := fakeapi.Generate(size, 1, time.Now())
	p := start(t, serve(t, fakeapi.NewServer(fakeapi.NewOrganization(members...), harness.Key)), nil, "--collector.per-user", "--collector.cache-ttl=1h")
	for range 5 { // until the heap has its usual size
		p.Scrape(t)
	}
	one := p.Usage(t).PeakResident
	var scrapes sync.WaitGroup
	for range 40 {
		scrapes.Go(func() {
			if users := p.Scrape(t)["factory_users"]; users != size {
				t.Errorf("factory_users is %g", users)
			}
		})
	}
	scrapes.Wait()
	if all := p.Usage(t).PeakResident; all > 3*one {
		t.Errorf("one scrape takes %d MiB, and 40 at once %d MiB", one>>20, all>>20)
	} else {
		t.Logf("one scrape takes %d MiB, and 40 at once %d MiB", one>>20, all>>20)
	}
}

// An API that hangs, a client that does not read, one that sends half a request, and a
// log that nobody reads.
func TestStopTakesNotLongWhateverHangs(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(10_000, 1, time.Now())...), harness.Key)
	p, log := startWithLog(t, serve(t, api), "--collector.per-user", "--log.level=debug")
	defer log.Close()
	p.Scrape(t)
	api.Inject(fakeapi.Fault{Serve: fakeapi.Hang()})
	for range 10 {
		send(t, dial(t, p.Address), strings.TrimSuffix(scrapeRequest, "\r\n")+"X-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n") // old numbers, unread
		send(t, dial(t, p.Address), scrapeRequest)
		send(t, dial(t, p.Address), "GET /metrics HTTP/1.1\r\n")
	}
	p.Scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", "2") // by now the others wait or are not read
	stop(t, p, syscall.SIGTERM)
}

// startWithLog starts the exporter, whose log goes to a pipe of the test, and reads the log
// until it listens.
func startWithLog(t *testing.T, apiURL string, args ...string) (*process.Process, io.Closer) {
	t.Helper()
	log, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := process.StartLoggingTo(t, stderr, []string{"FACTORY_API_KEY=" + harness.Key}, exporter,
		append(args, "--web.listen-address=127.0.0.1:0", "--factory.url="+apiURL)...)
	stderr.Close()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if found := regexp.MustCompile(`"Listening on" address=(\S+)`).FindStringSubmatch(lines.Text()); found != nil {
			p.Address = found[1]
			return p, log
		}
	}
	t.Fatalf("it does not listen: %v", lines.Err())
	return nil, nil
}

// script returns a program that runs a line of the shell and then becomes the exporter.
func script(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "exporter.sh")
	if err := os.WriteFile(file, fmt.Appendf(nil, "#!/bin/sh\n%s && exec %s \"$@\"\n", line, exporter), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// dial connects until the test ends.
func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}
