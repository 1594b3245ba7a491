package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
)

const (
	apiKey = "fk-e2e"
	job    = "factory"
	// scrapeInterval is also how often rules are evaluated.
	scrapeInterval = time.Second
)

// organization is the Factory API of an organization with members.
type organization struct {
	*fakeapi.Organization
	api   *fakeapi.Server
	url   string
	seeds uint64 // used up for its members
}

func newOrganization(t *testing.T, members int) *organization {
	t.Helper()
	const seed = 1
	org := fakeapi.NewOrganization(fakeapi.Generate(members, seed, time.Now())...)
	fake := fakeapi.NewServer(org, apiKey)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return &organization{org, fake, server.URL, seed}
}

// join adds members who have not been there before. Their accounts are new, so none of
// them is idle.
func (o *organization) join(n int) {
	o.seeds++
	now := time.Now()
	members := fakeapi.Generate(n, o.seeds, now)
	for i := range members {
		member := &members[i]
		member.CreatedAt = now.UTC().Format(time.RFC3339Nano)
		if member.LastSignInAt != "" {
			member.LastSignInAt = member.CreatedAt
		}
	}
	o.Add(members...)
}

// leave removes the first members.
func (o *organization) leave(n int) {
	for _, member := range o.Users()[:n] {
		o.Remove(member.ID)
	}
}

// startExporter starts the exporter for an organization.
func startExporter(t *testing.T, org *organization, flags ...string) *process.Process {
	t.Helper()
	return process.Serve(t, []string{"FACTORY_API_KEY=" + apiKey}, programs.exporter, append(flags, "--factory.url="+org.url)...)
}

// exporters are those to scrape, by the value of the label instance.
type exporters map[string]*process.Process

// prometheus is a Prometheus server.
type prometheus struct {
	*process.Process
	promv1.API
	options prometheusOptions
	config  string // file
}

type prometheusOptions struct {
	exporters        exporters
	rules            string // file
	alertmanager     *process.Process
	nativeHistograms bool
}

func startPrometheus(t *testing.T, options prometheusOptions) *prometheus {
	t.Helper()
	dir := t.TempDir()
	p := &prometheus{options: options, config: filepath.Join(dir, "prometheus.yml")}
	p.configure(t)
	p.Process = process.Serve(t, nil, programs.prometheus, "--config.file="+p.config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.enable-lifecycle")
	client, err := api.NewClient(api.Config{Address: p.URL()})
	if err != nil {
		t.Fatal(err)
	}
	p.API = promv1.NewAPI(client)
	process.Eventually(t, func() error { return ask(http.MethodGet, p.URL()+"/-/ready") })
	return p
}

// scrape changes what is scraped.
func (p *prometheus) scrape(t *testing.T, exporters exporters) {
	t.Helper()
	p.options.exporters = exporters
	p.configure(t)
	if err := ask(http.MethodPost, p.URL()+"/-/reload"); err != nil {
		t.Fatal(err)
	}
}

func (p *prometheus) configure(t *testing.T) {
	t.Helper()
	config := fmt.Sprintf("global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}\n", scrapeInterval)
	if p.options.rules != "" {
		config += fmt.Sprintf("rule_files: [%s]\n", p.options.rules)
	}
	if p.options.alertmanager != nil {
		config += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", p.options.alertmanager.Address)
	}
	config += fmt.Sprintf("scrape_configs:\n  - job_name: %[1]s\n    scrape_native_histograms: %[2]t\n    convert_classic_histograms_to_nhcb: %[2]t\n    static_configs:\n", job, p.options.nativeHistograms)
	for instance, exporter := range p.options.exporters {
		config += fmt.Sprintf("      - {targets: [%q], labels: {instance: %q}}\n", exporter.Address, instance)
	}
	if err := os.WriteFile(p.config, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
}

// query returns the vector that an expression is now, which must raise no eyebrow of
// Prometheus.
func (p *prometheus) query(t *testing.T, expr string) model.Vector {
	t.Helper()
	value, warnings, infos, err := p.Query(t.Context(), expr, time.Now())
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if len(warnings)+len(infos) > 0 {
		t.Fatalf("%s: %q %q", expr, warnings, infos)
	}
	return value.(model.Vector)
}

// becomes waits until an expression has a result.
func (p *prometheus) becomes(t *testing.T, expr string) {
	t.Helper()
	process.Eventually(t, func() error {
		if len(p.query(t, expr)) == 0 {
			return fmt.Errorf("nothing is: %s", expr)
		}
		return nil
	})
}

// holds checks that an expression has a result.
func (p *prometheus) holds(t *testing.T, expr string) {
	t.Helper()
	if len(p.query(t, expr)) == 0 {
		t.Errorf("nothing is: %s", expr)
	}
}

// hasNoAlerts waits until no alert is pending or firing.
func (p *prometheus) hasNoAlerts(t *testing.T) {
	t.Helper()
	process.Eventually(t, func() error {
		if alerts := p.query(t, "ALERTS"); len(alerts) > 0 {
			return fmt.Errorf("there are alerts:\n%s", alerts)
		}
		return nil
	})
}

const rulesFile = "../alerts/factory.rules.yml"

var forClause = regexp.MustCompile(`(?m)^( +(?:keep_firing_)?for: ).*$`)

// impatientRules is a copy of the rules in which every alert fires after two seconds.
// Nothing else is changed; how long the alerts really wait is seen by promtool test
// rules, which has a clock of its own.
func impatientRules(t *testing.T) string {
	t.Helper()
	return hurried(t, func(model.Duration) model.Duration { return model.Duration(2 * time.Second) })
}

// hastyRules is a copy of the rules in which a minute of waiting takes a second.
func hastyRules(t *testing.T) string {
	t.Helper()
	return hurried(t, func(wait model.Duration) model.Duration { return wait / 60 })
}

// hurried is a copy of the rules whose alerts wait for another time.
func hurried(t *testing.T, wait func(model.Duration) model.Duration) string {
	t.Helper()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	rules = forClause.ReplaceAllFunc(rules, func(clause []byte) []byte {
		name, waits, _ := strings.Cut(string(clause), ": ")
		parsed, err := model.ParseDuration(waits)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, "%s: %s", name, wait(parsed))
	})
	file := filepath.Join(t.TempDir(), "hurried.rules.yml")
	if err := os.WriteFile(file, rules, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// pager is an Alertmanager, and what it sends.
type pager struct {
	*process.Process
	mu       sync.Mutex
	received []page
}

// page is an alert as a webhook of Alertmanager tells of it.
type page struct {
	Status              string // "firing" or "resolved"
	Labels, Annotations map[string]string
	receiver            string
	group               map[string]string // the labels that its message is of
}

// eachByItself sends each alert at once, in a message of its own.
const eachByItself = `
route: {receiver: webhook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: webhook}]
`

func startPager(t *testing.T, config string) *pager {
	t.Helper()
	p := &pager{}
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var message struct {
			Receiver    string
			GroupLabels map[string]string
			Alerts      []page
		}
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, page := range message.Alerts {
			page.receiver, page.group = message.Receiver, message.GroupLabels
			p.received = append(p.received, page)
		}
	}))
	t.Cleanup(webhook.Close)

	dir := t.TempDir()
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(config), &parsed); err != nil {
		t.Fatal(err)
	}
	for _, receiver := range parsed["receivers"].([]any) {
		receiver.(map[string]any)["webhook_configs"] = []any{map[string]any{"url": webhook.URL}}
	}
	text, err := yaml.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	p.Process = process.Serve(t, nil, programs.alertmanager, "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
		"--cluster.listen-address=")
	return p
}

// pages waits until it was told of an alert in this status at least n times, and returns
// all of that.
func (p *pager) pages(t *testing.T, alert, status string, n int) []page {
	t.Helper()
	var found []page
	process.Eventually(t, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		found = nil
		for _, page := range p.received {
			if page.Labels["alertname"] == alert && page.Status == status {
				found = append(found, page)
			}
		}
		if len(found) < n {
			return fmt.Errorf("Alertmanager told %d times, not %d, that %s is %s; in all, it told of %v", len(found), n, alert, status, p.received)
		}
		return nil
	})
	return found
}

// known is an alert that Alertmanager knows.
type known struct {
	Labels map[string]string
	Status struct{ State string } // "active", "suppressed" or "unprocessed"
}

func (p *pager) alerts(t *testing.T) []known {
	t.Helper()
	_, body := process.Get(t, http.DefaultClient, p.URL()+"/api/v2/alerts")
	var alerts []known
	if err := json.Unmarshal([]byte(body), &alerts); err != nil {
		t.Fatal(err)
	}
	return alerts
}

// becomes waits until an alert is in this state.
func (p *pager) becomes(t *testing.T, alert, state string) {
	t.Helper()
	process.Eventually(t, func() error {
		alerts := p.alerts(t)
		if !slices.ContainsFunc(alerts, func(a known) bool { return a.Labels["alertname"] == alert && a.Status.State == state }) {
			return fmt.Errorf("%s is not %s: %v", alert, state, alerts)
		}
		return nil
	})
}

// fire tells Alertmanager of alerts, as Prometheus does.
func (p *pager) fire(t *testing.T, alerts any) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(p.URL()+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

// ask sends a request that has to succeed.
func ask(method, url string) error {
	request, err := http.NewRequest(method, url, strings.NewReader(""))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return nil
}
