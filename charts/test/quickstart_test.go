package chart_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"
)

// compose loads files of the quickstart, or others by their absolute paths, as Compose does,
// with variables of the environment ("NAME=value").
func compose(t *testing.T, env []string, files ...string) *types.Project {
	t.Helper()
	var paths []string
	for _, file := range files {
		if !filepath.IsAbs(file) {
			file = "../../quickstart/" + file
		}
		paths = append(paths, file)
	}
	options, err := cli.NewProjectOptions(paths, cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// scrapeService runs the exporter of the quickstart and returns a scrape.
func scrapeService(t *testing.T, service types.ServiceConfig) string {
	t.Helper()
	var env []string
	for name, value := range service.Environment {
		for _, volume := range service.Volumes {
			*value = strings.Replace(*value, volume.Target, volume.Source, 1)
		}
		env = append(env, name+"="+*value)
	}
	_, body := get(t, "http://"+start(t, env, service.Command...)+"/metrics")
	return body
}

func TestQuickstartShowsTheDemo(t *testing.T) {
	body := scrapeService(t, compose(t, nil, "compose.yml").Services["exporter"])
	for _, line := range []string{"factory_up 1", "factory_seat_limit 1000"} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %q in %s", line, body)
		}
	}
}

func TestQuickstartShowsAnOrganization(t *testing.T) {
	api := serveAPI(t, "fk-test")
	for env, line := range map[string]string{"SEAT_LIMIT=250": "\nfactory_seat_limit 250\n", "": "\nfactory_users 1\n"} {
		service := compose(t, []string{"FACTORY_URL=" + api, env}, "compose.yml", "organization.yml").Services["exporter"]
		if len(service.Volumes) != 1 || path.Base(service.Volumes[0].Source) != "key" {
			t.Fatalf("the key's folder is not what is mounted: %v", service.Volumes)
		}
		service.Volumes[0].Source = write(t, map[string]string{"api-key": "fk-test\n"})
		body := scrapeService(t, service)
		if !strings.Contains(body, "\nfactory_up 1\n") || !strings.Contains(body, line) {
			t.Errorf("%s: no %q in %s", env, line, body)
		}
		if env == "" && strings.Contains(body, "\nfactory_seat_limit ") {
			t.Error("the demo's seat limit is that of an organization")
		}
	}
}

func TestQuickstartIsOpenToThisMachineAloneAndMountsWhatIsThere(t *testing.T) {
	for name, service := range compose(t, nil, "compose.yml", "organization.yml").Services {
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("port %s of %s is open at %q", port.Published, name, port.HostIP)
			}
		}
		for _, volume := range service.Volumes {
			if _, err := os.Stat(volume.Source); volume.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Of a clone that only its owner may read.
func TestQuickstartLetsTheContainersReadTheirFilesAndNobodyElseTheKey(t *testing.T) {
	project, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	clone := t.TempDir()
	for _, dir := range []string{"quickstart", "alerts", "dashboards"} {
		if err := os.CopyFS(filepath.Join(clone, dir), os.DirFS(filepath.Join(project, dir))); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(clone, "quickstart/key/api-key")
	commands := regexp.MustCompile(`(?m)^chmod .*`).FindAllString(readFile(t, "quickstart/README.md"), -1)
	steps := "chmod -R go= . && cd quickstart && echo fk-test >key/api-key && chmod 640 key/api-key\n" +
		"sudo() { :; }\n" + // only root gives a file to a group
		strings.Join(commands, "\n") + "\n" + commands[0]
	shell := exec.Command("sh", "-euc", steps)
	shell.Dir = clone
	if output, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if got := mode(key); got != 0o640 {
		t.Errorf("the key has the mode %o", got)
	}
	if got := mode(filepath.Dir(key)); got&0o001 == 0 {
		t.Errorf("the exporter does not get to the key: %o", got)
	}
	for name, service := range compose(t, nil, "compose.yml").Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			err := filepath.WalkDir(strings.Replace(volume.Source, project, clone, 1), func(path string, entry os.DirEntry, err error) error {
				if err == nil && (mode(path)&0o004 == 0 || entry.IsDir() && mode(path)&0o001 == 0) {
					t.Errorf("%s cannot read %s: %o", name, path, mode(path))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestHealthCheckOfTheDocumentationLastsAsLongAsAListingMay(t *testing.T) {
	example := regexp.MustCompile("(?s)```yaml\n(services:.*?)```").FindStringSubmatch(readFile(t, "docs/installation.md"))
	help, err := exec.Command(exporter, "--help").Output()
	listing := regexp.MustCompile(`--factory\.listing-timeout=(\S+)`).FindSubmatch(help)
	if err != nil || example == nil || listing == nil {
		t.Fatal(err, example, listing)
	}
	file := filepath.Join(write(t, map[string]string{"compose.yml": "name: seats\n" + example[1]}), "compose.yml")
	check := compose(t, nil, file).Services["factory_exporter"].HealthCheck
	if atMost, err := model.ParseDuration(string(listing[1])); err != nil || time.Duration(*check.Timeout) <= time.Duration(atMost) {
		t.Errorf("it ends after %s, a listing after %s, %v", check.Timeout, atMost, err)
	}
}

func TestQuickstartInhibitsAlertsThatExist(t *testing.T) {
	var rules monitoringv1.PrometheusRuleSpec
	if err := yaml.Unmarshal([]byte(readFile(t, "alerts/factory.rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	alerts := map[string]bool{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = true
		}
	}
	matchers := regexp.MustCompile(`alertname=~?"([^"]*)"`).FindAllStringSubmatch(readFile(t, "quickstart/alertmanager.yml"), -1)
	if len(matchers) == 0 {
		t.Error("there is no matcher for an alert")
	}
	for _, matcher := range matchers {
		for name := range strings.SplitSeq(matcher[1], "|") {
			if !alerts[name] {
				t.Errorf("there is no alert %s", name)
			}
		}
	}
}

// Grafana's home is a file, and the link in the README is a uid: both are those of one
// dashboard.
func TestQuickstartOpensADashboardOfTheProject(t *testing.T) {
	environment := compose(t, nil, "compose.yml").Services["grafana"].Environment
	home := path.Base(*environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
	var dashboard struct{ UID string }
	if err := json.Unmarshal([]byte(readFile(t, "dashboards/"+home)), &dashboard); err != nil {
		t.Fatal(err)
	}
	if link := "http://localhost:3000/d/" + dashboard.UID + "?"; !strings.Contains(readFile(t, "quickstart/README.md"), link) {
		t.Errorf("the README has no link %s", link)
	}
}
