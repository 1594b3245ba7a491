package chart_test

import (
	"encoding/json"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// compose loads the quickstart as Compose does, with variables of the environment
// ("NAME=value").
func compose(t *testing.T, env []string, files ...string) *types.Project {
	t.Helper()
	var paths []string
	for _, file := range files {
		paths = append(paths, "../../quickstart/"+file)
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
