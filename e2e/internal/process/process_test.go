package process_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"factory_exporter/e2e/internal/process"
)

func TestExporterIsBuiltStartedAndStopped(t *testing.T) {
	program, err := process.BuildExporter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FACTORY_EXPORTER_COLLECTOR_WINDOW", "3d") // the developer's own

	for _, format := range []string{"logfmt", "json"} {
		p := process.Serve(t, []string{"FACTORY_EXPORTER_LOG_FORMAT=" + format}, program, "--demo")
		samples := p.Scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", "30")
		if samples["factory_up"] != 1 || samples[`factory_users_active{window="7d"}`] == 0 {
			t.Errorf("%s: a scrape has %v", format, samples)
		}
		if usage := p.Usage(t); usage.CPU <= 0 || usage.Resident < 1<<20 || usage.PeakResident < usage.Resident || usage.Files < 3 {
			t.Errorf("%s: it takes up %+v", format, usage)
		}
		if p.Exited() {
			t.Errorf("%s: it has ended", format)
		}
		p.Stop(t)
		if !p.Exited() || !strings.Contains(p.Stderr.String(), "Stopping") || !strings.Contains(p.Stdout.String(), "/metrics") {
			t.Errorf("%s: exited: %t, stdout:\n%s\nstderr:\n%s", format, p.Exited(), p.Stdout, p.Stderr)
		}
	}

	p := process.Start(t, nil, program, "--no-such-flag")
	if code := p.Wait(t); code != 1 || !strings.Contains(p.Stderr.String(), "--no-such-flag") || p.Stdout.String() != "" {
		t.Errorf("exit code %d, stdout:\n%s\nstderr:\n%s", code, p.Stdout, p.Stderr)
	}
	p = process.Serve(t, nil, program, "--demo")
	if status, body := process.Get(t, http.DefaultClient, p.URL()+"/-/healthy"); status != http.StatusOK || body != "Healthy\n" {
		t.Errorf("status %d, body %q", status, body)
	}
	p.Signal(t, syscall.SIGKILL)
	if code := p.Wait(t); code != -1 {
		t.Errorf("exit code %d after SIGKILL", code)
	}
}
