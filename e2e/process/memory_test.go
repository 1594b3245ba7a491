package process_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

const (
	memoryLimit   = 64 << 20
	memoryMembers = 10_000
)

// Each way in which the API can fail strikes the exporter of a large organization for a
// while, in a container of 64 MiB. In the end it is the same process, and lists again.
func TestAFailingAPIDoesNotExhaustTheMemory(t *testing.T) {
	t.Parallel()
	limited, peak, err := limitMemory(t)
	if err != nil {
		t.Logf("not checked, because memory cannot be limited here: %v", err)
		return
	}
	api := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(memoryMembers, 1, time.Now())...), harness.Key)
	p := process.Serve(t, []string{"FACTORY_API_KEY=" + harness.Key}, limited, "--factory.url="+serve(t, api),
		"--factory.request-timeout=1s", "--factory.max-retries=1", "--collector.max-stale=0s",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--collector.per-user")
	for name, fault := range memoryFaults() {
		for _, page := range []int{0, fakeapi.LastPage} {
			api.Inject(fakeapi.Fault{Page: page, Serve: fault})
			p.Scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", "3")
			api.ClearFaults()
			if p.Exited() {
				t.Fatalf("%s on page %d (0: on all) was the end", name, page)
			}
		}
	}
	process.Eventually(t, func() error {
		if got := p.Scrape(t); got["factory_up"] != 1 || got["factory_users"] != memoryMembers {
			return fmt.Errorf("afterwards factory_up is %g and factory_users %g", got["factory_up"], got["factory_users"])
		}
		return nil
	})
	t.Logf("the container took %.1f MiB at most, of %d", float64(peak())/(1<<20), memoryLimit>>20)
}

// memoryFaults are those of all tests, and pages that are answered well and take memory.
func memoryFaults() map[string]fakeapi.Behavior {
	each := func(field string, value any) fakeapi.Behavior {
		return fakeapi.EditUsers(func(user map[string]any) { user[field] = value })
	}
	long := strings.Repeat("x", 40_000) // a hundred of them stay below the largest page
	var nested any = "deep"
	for range 1000 {
		nested = map[string]any{"users": []any{nested}}
	}
	all := map[string]fakeapi.Behavior{
		"gzip":                       fakeapi.Compressed(fakeapi.PageWith(http.StatusOK)),
		"gzip of 64 MiB":             fakeapi.Compressed(fakeapi.Large(64 << 20)),
		"gzip of 3.5 MiB":            fakeapi.Compressed(fakeapi.Large(7 << 19)),
		"a body of 64 MiB":           fakeapi.Large(64 << 20),
		"a body of 3.5 MiB":          fakeapi.Large(7 << 19),
		"a cursor of 4 KiB":          fakeapi.Cursor(strings.Repeat("c", 4<<10)),
		"unknown fields nested deep": fakeapi.Edit(func(page map[string]any) { page["unknown"] = nested }),
		"a long metadata value":      each("metadata", map[string]any{"team": long}),
		"a long metadata key":        each("metadata", map[string]any{long: "x"}),
		"a long mail address":        each("email", "a@"+long),
		"a long name":                each("firstName", long),
		"a long id": fakeapi.EditUsers(func(user map[string]any) {
			user["id"] = user["id"].(string) + long
		}),
		"timestamps that are objects":  each("lastSignInAt", map[string]any{"users": nested}),
		"control characters, no UTF-8": fakeapi.Replace(`user_`, "\xff\\u0000\\n"),
	}
	maps.Copy(all, faults())
	return all
}

// limitMemory returns a program that is the exporter within a control group of its own,
// which has a limit on memory, and how much the group has taken at most. It knows both
// versions of control groups.
func limitMemory(t *testing.T) (program string, peak func() uint64, err error) {
	t.Helper()
	for _, hierarchy := range []struct{ root, limit, swap, peak string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes"},
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max", "memory.peak"},
	} {
		group := filepath.Join(hierarchy.root, fmt.Sprintf("factory_exporter-test-%d", os.Getpid()))
		if err = os.Mkdir(group, 0o700); err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		if err = os.WriteFile(filepath.Join(group, hierarchy.limit), fmt.Append(nil, memoryLimit), 0); err != nil {
			continue
		}
		swap := "0"
		if strings.HasSuffix(hierarchy.swap, "limit_in_bytes") {
			swap = fmt.Sprint(memoryLimit) // memory and swap together
		}
		_ = os.WriteFile(filepath.Join(group, hierarchy.swap), []byte(swap), 0) // a machine may have no swap
		return script(t, "echo $$ >"+group+"/cgroup.procs"), func() (bytes uint64) {
			text, err := os.ReadFile(filepath.Join(group, hierarchy.peak))
			if err != nil {
				return 0
			}
			_, _ = fmt.Sscan(string(text), &bytes)
			return bytes
		}, nil
	}
	return "", nil, err
}
