package chart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// released packages the chart as a release does, and returns its path and the image.
func released(t *testing.T) (chart, image string) {
	t.Helper()
	dir := t.TempDir()
	image = "ghcr.io/example/factory_exporter@sha256:" + digest
	release := exec.Command("../package", "1.2.3", image, dir)
	release.Env = append(os.Environ(), "HELM="+helm)
	if output, err := release.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return filepath.Join(dir, "factory-exporter-1.2.3.tgz"), image
}

func TestReleasedChartHasTheImageTheVersionAndTheLinksOfTheRelease(t *testing.T) {
	chart, image := released(t)
	got := render(t, chart, "seats", everything)
	want := strings.NewReplacer(
		"factory_exporter:devel", image,
		"app.kubernetes.io/version: devel", "app.kubernetes.io/version: 1.2.3",
		"factory-exporter-0.0.0", "factory-exporter-1.2.3",
	).Replace(render(t, checkout, "seats", everything))
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	rules := render(t, chart, "seats", "prometheusRule: {enabled: true}")
	if !strings.Contains(rules, "runbook_url: https://github.com/example/factory_exporter/blob/v1.2.3/alerts/README.md#") ||
		regexp.MustCompile(`\.example\b|OWNER|dashboard_url`).MatchString(rules) {
		t.Errorf("links that lead nowhere in %s", rules)
	}
	for _, shown := range []string{"chart", "readme"} {
		output, err := exec.Command(helm, "show", shown, chart).Output()
		if err != nil || !strings.Contains(string(output), "github.com/example/") || strings.Contains(string(output), "OWNER") ||
			strings.Contains(string(output), "/main/") {
			t.Errorf("%v\n%s", err, output)
		}
	}
}

func TestImage(t *testing.T) {
	chart, image := released(t)
	for values, want := range map[string]string{
		"":                    image,
		"image: {tag: 1.2.4}": "ghcr.io/example/factory_exporter:1.2.4",
		"image: {tag: 1.2.4, digest: 'sha256:" + digest + "'}":                       image,
		"image: {repository: example.com:5000/seats}":                                "example.com:5000/seats@sha256:" + digest,
		"image: {repository: seats, tag: 1.2.4, registry: 'example.com:5000/quay/'}": "example.com:5000/quay/seats:1.2.4",
		"image: {registry: example.com}":                                             "example.com/example/factory_exporter@sha256:" + digest,
		"global: {imageRegistry: example.org}\nimage: {registry: example.com}":       "example.org/example/factory_exporter@sha256:" + digest,
	} {
		if got := decode(t, render(t, chart, "seats", values)).container(t).Image; got != want {
			t.Errorf("%s: got %s, want %s", values, got, want)
		}
	}
	if got := install(t, "seats", "").container(t).Image; got != "factory_exporter:devel" {
		t.Errorf("in a checkout: %s", got)
	}
}

// With --reuse-values Helm replaces the values of the new chart by those of the old one, whose digest was among them.
func TestUpgradeThatKeepsTheValuesOfAnOlderChartRunsTheNewImage(t *testing.T) {
	chart, image := released(t)
	dir := t.TempDir()
	values := strings.ReplaceAll(readFile(t, "charts/test/testdata/values-0.yaml"), "DIGEST", strings.Repeat("0", 64))
	for _, step := range []error{
		exec.Command("tar", "-xf", chart, "-C", dir).Run(),
		os.WriteFile(filepath.Join(dir, "factory-exporter/values.yaml"), []byte(values), 0o600),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	const on = "serviceMonitor: {enabled: true}\nprometheusRule: {enabled: true}\ndashboards: {enabled: true}\nnetworkPolicy: {enabled: true}"
	for _, values := range []string{"", on} {
		kept, anew := render(t, filepath.Join(dir, "factory-exporter"), "seats", values), render(t, chart, "seats", values)
		if decode(t, kept).container(t).Image != image {
			t.Errorf("the image is not %s in %s", image, kept)
		}
		for _, default_ := range []string{"  revisionHistoryLimit: 10\n", "      honorLabels: false\n"} { // of Kubernetes and the operator
			anew = strings.ReplaceAll(anew, default_, "")
		}
		if kept != anew {
			t.Errorf("got %s\nwant %s", kept, anew)
		}
	}
}

func TestParentChart(t *testing.T) {
	chart, err := os.ReadFile(packaged)
	if err != nil {
		t.Fatal(err)
	}
	parent := write(t, map[string]string{"charts/factory-exporter-0.0.0.tgz": string(chart), "Chart.yaml": `
apiVersion: v2
name: platform
version: 1.0.0
dependencies:
  - {name: factory-exporter, version: 0.0.0, condition: factory-exporter.enabled, tags: [monitoring]}
  - {name: factory-exporter, version: 0.0.0, condition: Emea_2.enabled, alias: Emea_2}
`})
	const both = `
global: {imageRegistry: example.com, other: 1}
factory-exporter: {enabled: true, serviceMonitor: {enabled: true}}
Emea_2: {enabled: true, serviceMonitor: {enabled: true}}`
	for values, want := range map[string][]string{
		"factory-exporter: {enabled: true}\nEmea_2: {enabled: false}":  {"seats-factory-exporter"},
		"factory-exporter: {enabled: false}\nEmea_2: {enabled: false}": nil,
		"tags: {monitoring: false}\nEmea_2: {enabled: false}":          nil,
		both: {"seats-emea-2", "seats-factory-exporter"},
	} {
		all := decode(t, render(t, parent, "seats", values))
		var got []string
		for _, service := range all.services {
			got = append(got, service.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || want == nil && len(all.allMetadata) > 0 {
			t.Errorf("%s: got the Services %q, want %q", values, got, want)
		}
		for _, monitor := range all.monitors { // the operator takes the Service's name for the job
			if monitor.Spec.JobLabel != "" {
				t.Errorf("%s: two organizations are one job", monitor.Name)
			}
		}
		if values == both && all.container(t).Image != "example.com/factory_exporter:devel" {
			t.Errorf("image %s", all.container(t).Image)
		}
	}
	if all := install(t, "seats", "enabled: true\ntags: {monitoring: true}"); all.deployment == nil {
		t.Error("the chart cannot have the values of a part by itself")
	}
}

// A Service's name is a label of DNS (RFC 1035), which servers before 1.36 hold to.
func TestEveryNameOfAReleaseMakesNamesThatAServerTakes(t *testing.T) {
	const on = "serviceMonitor: {enabled: true}\nnetworkPolicy: {enabled: true}\ndashboards: {enabled: true}\nprometheusRule: {enabled: true}\nserviceAccount: {create: true}"
	names := map[string]bool{}
	other := install(t, "other", on)
	for release, want := range map[string]string{
		"factory-exporter":      "factory-exporter",
		"factory-exporter-emea": "factory-exporter-emea",
		"emea":                  "emea-factory-exporter",
		"factory-exporter.asia": "factory-exporter-asia",
		"1factory-exporter":     "factory-1factory-exporter",
		"2024":                  "factory-2024-factory-exporter",
		"true":                  "true-factory-exporter",
		strings.Repeat("a", 44) + "--" + strings.Repeat("b", 7): strings.Repeat("a", 44) + "--" + strings.Repeat("b", 7) + "-factory-e",
		strings.Repeat("7", 53):                                 "factory-" + strings.Repeat("7", 53) + "-f",
	} {
		all := install(t, release, on)
		if all.service.Name != want {
			t.Errorf("%s: the Service is %s, want %s", release, all.service.Name, want)
		}
		for _, name := range []string{all.service.Name, all.deployment.Name, all.test.Name} {
			for _, problem := range validation.IsDNS1035Label(name) {
				t.Errorf("%s: %s", name, problem)
			}
		}
		for _, object := range all.allMetadata {
			name := fmt.Sprintf("%T %s", object, object.GetName())
			if names[name] {
				t.Errorf("two releases have the same %s", name)
			}
			names[name] = true
		}
		selector := labels.SelectorFromSet(all.service.Spec.Selector)
		if !selector.Matches(labels.Set(all.deployment.Spec.Template.Labels)) || all.deployment.Spec.Selector.String() != metav1.SetAsLabelSelector(all.service.Spec.Selector).String() {
			t.Errorf("the Service of %s selects %s, its pods are %v", release, selector, all.deployment.Spec.Template.Labels)
		}
		for _, pod := range []map[string]string{other.deployment.Spec.Template.Labels, all.test.Labels} {
			if selector.Matches(labels.Set(pod)) {
				t.Errorf("the Service of %s selects the pod %v", release, pod)
			}
		}
	}
	for values, want := range map[string]string{
		"fullnameOverride: " + strings.Repeat("a", 62) + "-b": strings.Repeat("a", 62),
		"fullnameOverride: seats":                             "seats",
		"fullnameOverride: 'true'":                            "true",
	} {
		if got := install(t, "emea", values).service.Name; got != want {
			t.Errorf("%s: got %s, want %s", values, got, want)
		}
	}
}

// Each text, but for its white space, is in the manifest.
func TestValues(t *testing.T) {
	for values, want := range map[string]string{
		"imagePullSecrets: [{name: registry}]":                                           "imagePullSecrets: - name: registry",
		"image: {pullPolicy: Always}":                                                    "imagePullPolicy: Always",
		"apiKeySecret: {name: '2024', key: 'true'}":                                      `secretName: "2024" defaultMode: 0444 items: - key: "true"`,
		"apiKeyFile: /vault/secrets/api-key":                                             `args: - "--factory.api-key-file=/vault/secrets/api-key" env:`,
		"extraEnv: [{name: HTTPS_PROXY, value: proxy}]":                                  "value: $(MEMORY_LIMIT_MEBIBYTES)000000 - name: HTTPS_PROXY value: proxy",
		"extraEnv: [{name: GOMEMLIMIT, value: 1GiB}]":                                    "env: - name: GOMEMLIMIT value: 1GiB ports:",
		"extraEnvFrom: [{secretRef: {name: proxy}}]":                                     "envFrom: - secretRef: name: proxy",
		"service: {type: LoadBalancer}":                                                  "type: LoadBalancer",
		"service: {port: 80}":                                                            "port: 80 targetPort: http",
		"service: {annotations: {a: b}}":                                                 "annotations: a: b",
		"serviceMonitor: {enabled: true, honorLabels: true}":                             "path: /metrics honorLabels: true interval: 1m scrapeTimeout: 30s",
		"serviceMonitor: {enabled: true, sampleLimit: 1000000}":                          "sampleLimit: 1000000 endpoints:",
		"serviceMonitor: {enabled: true, targetLabels: [team]}":                          "targetLabels: - team",
		"serviceMonitor: {enabled: true, namespace: stack}":                              `namespace: "stack"`,
		"serviceMonitor: {namespace: stack, enabled: true}":                              `namespaceSelector: matchNames: ["monitoring"]`,
		"serviceMonitor: {enabled: true, interval: 1m30s, scrapeTimeout: 90s}":           "interval: 1m30s scrapeTimeout: 90s",
		"serviceMonitor: {enabled: true, interval: null}":                                "honorLabels: false scrapeTimeout: 30s",
		"serviceMonitor: {enabled: true, additionalLabels: {app.kubernetes.io/name: a}}": "app.kubernetes.io/name: a app.kubernetes.io/version",
		"podMonitor: {enabled: true, targetLabels: [team], namespace: stack}":            "podTargetLabels: - team podMetricsEndpoints: - port: http",
		"podMonitor: {enabled: true, scheme: https, interval: 2m}":                       "interval: 2m scheme: https scrapeTimeout: 30s",
		"prometheusRule: {enabled: true, namespace: stack}":                              `namespace: "stack"`,
		"prometheusRule: {enabled: true, rules: [{record: a, expr: '1'}]}":               `- name: seats-factory-exporter rules: - expr: "1" record: a`,
		"dashboards: {enabled: true, namespace: grafana}":                                `namespace: "grafana"`,
		"dashboards: {enabled: true, folder: Factory, annotations: {a: b}}":              "annotations: a: b grafana_folder: Factory",
		"dashboards: {enabled: true, labels: {dashboard: 'yes'}}":                        `dashboard: "yes" grafana_dashboard: "1"`,
		"resources: {limits: {memory: 1Gi, cpu: 1}}":                                     "limits: cpu: 1 memory: 1Gi",
		"resources: null":                                                "timeoutSeconds: 5 securityContext:",
		"serviceAccount: {create: true}":                                 `serviceAccountName: "seats-factory-exporter"`,
		"serviceAccount: {create: true, name: '2024'}":                   `serviceAccountName: "2024"`,
		"serviceAccount: {create: true, name: own, annotations: {a: b}}": `name: "own" namespace: "monitoring"`,
		"serviceAccount: {name: vault, automount: true}":                 `automountServiceAccountToken: true serviceAccountName: "vault"`,
		"podSecurityContext: {fsGroup: 65532}":                           "securityContext: fsGroup: 65532 runAsNonRoot: true seccompProfile: type: RuntimeDefault containers:",
		"securityContext: {readOnlyRootFilesystem: false}":               "capabilities: drop: - ALL readOnlyRootFilesystem: false",
		"securityContext: {runAsUser: 1000650000}":                       "runAsUser: 1",
		"deploymentAnnotations: {a: b}":                                  "annotations: a: b spec: # Each replica",
		"podAnnotations: {a: 'true'}":                                    `annotations: a: "true" spec: automount`,
		"podLabels: {app.kubernetes.io/version: 'true', tier: '1'}":      `app.kubernetes.io/version: "true" helm.sh/chart: factory-exporter-0.0.0 tier: "1" spec:`,
		"commonLabels: {cost-center: '42'}":                              `cost-center: "42" helm.sh/chart: factory-exporter-0.0.0 spec:`,
		"nodeSelector: {disk: ssd}":                                      "nodeSelector: disk: ssd",
		"tolerations: [{operator: Exists}]":                              "tolerations: - operator: Exists",
		"affinity: {podAntiAffinity: {}}":                                "affinity: podAntiAffinity: {}",
		"topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {}}]": "topologySpreadConstraints: - labelSelector: {} maxSkew: 1",
		"priorityClassName: high":                           "priorityClassName: high",
		"dnsConfig: {options: [{name: ndots, value: '1'}]}": `dnsConfig: options: - name: ndots value: "1"`,
		"revisionHistoryLimit: 0":                           "revisionHistoryLimit: 0",
		"revisionHistoryLimit: null":                        "replicas: 1 selector:",
		"extraManifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ .Release.Name }}-a'}}]": "name: 'seats-a'",
		"extraManifests: ['{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}']":                     "kind: ConfigMap, metadata: {name: a}",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			manifest := render(t, checkout, "seats", values)
			decode(t, manifest)
			if !strings.Contains(strings.Join(strings.Fields(manifest), " "), want) {
				t.Errorf("no %s in %s", want, manifest)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	for values, message := range map[string]string{
		"replicaCount: 2":                                           "replicaCount",
		"flags:":                                                    "flags",
		"networkPolicy:":                                            "networkPolicy",
		"flags: {factory.seatlimit: 5}":                             "factory.seatlimit",
		"flags: {factory.seat-limit: -1}":                           "seat-limit",
		"flags: {factory.seat-limit: 2.5}":                          "seat-limit",
		"flags: {factory.listing-timeout: 5}":                       "listing-timeout",
		"flags: {collector.group-by: email_domain}":                 "group-by",
		"flags: {collector.group-by: [email_domain, email_domain]}": "group-by",
		"flags: {collector.per-user: 'yes'}":                        "per-user",
		"flags: {log.level: verbose}":                               "log.level",
		"flags: {factory.api-key-file: /key}":                       "factory.api-key-file",
		"flags: {web.listen-address: ':80'}":                        "web.listen-address",
		"apiKey: fk-secret":                                         "apiKey",
		"apiKeySecret: fk-secret":                                   "apiKeySecret",
		"apiKeySecret: {name: fk-secret}":                           "apiKeySecret",
		"apiKeySecret: {name: seats, key: fk-secret}":               "apiKeySecret",
		"apiKeySecret: {name: ''}":                                  "apiKeySecret",
		"apiKeyFile: fk-secret":                                     "apiKeyFile",
		"webConfigSecret: Not_A_Name":                               "webConfigSecret",
		"extraEnv: [{name: FACTORY_API_KEY, value: secret}]":        "extraEnv",
		"extraEnv: [{name: FACTORY_EXPORTER_DEMO, value: 'true'}]":  "extraEnv",
		"extraEnv: {HTTPS_PROXY: proxy}":                            "extraEnv",
		"image: {digest: '1.2.3'}":                                  "digest",
		"serviceMonitor: {interval: 60}":                            "interval",
		"serviceMonitor: {labels: {release: stack}}":                "labels",
		"serviceMonitor: {enabled: true, interval: 15s}":            "serviceMonitor: the scrapeTimeout 30s is longer than the interval 15s",
		"podMonitor: {enabled: true, scrapeTimeout: 1h}":            "podMonitor: the scrapeTimeout 1h is longer than the interval 1m",
		"prometheusRule: {enabled: 'true'}":                         "enabled",
		"networkPolicy: {egressPorts: [https]}":                     "egressPorts",
		"podLabels: {tier: 1}":                                      "podLabels",
		"podLabels: {app.kubernetes.io/name: seats}":                "podLabels: take away app.kubernetes.io/name, by which the chart finds its pod",
		"commonLabels: {app.kubernetes.io/instance: seats}":         "commonLabels: take away app.kubernetes.io/instance",
		"fullnameOverride: Seats":                                   "fullnameOverride",

		"podMonitor: {enabled: true, interval: null, scrapeTimeout: 1m}": "podMonitor: the scrapeTimeout 1m is longer than the interval 30s",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			if _, stderr, err := run(t, values, "template", "seats", checkout); err == nil || !strings.Contains(stderr, message) {
				t.Errorf("error %v\n%s", err, stderr)
			}
		})
	}
}

func TestNotesSayHowToReachTheExporter(t *testing.T) {
	const notes = `
extraManifests: ['{apiVersion: v1, kind: ConfigMap, metadata: {name: notes}, data: {notes: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}}}']
`
	for values, want := range map[string]string{
		"":                     "--from-file=api-key=FILE\n",
		"flags: {demo: true}":  "at http://localhost:10777 with\n",
		"apiKeyFile: /mnt/key": "as soon as /mnt/key has the API key.\n",
		"webConfigSecret: web": "at http://localhost:10777 (https, if web has a certificate) with\n",
		"webConfigSecret: web\nservice: {port: 80}":                                  "scrape http://seats-factory-exporter.monitoring.svc:80 (https, if web has a certificate).\n",
		"webConfigSecret: web\nserviceMonitor: {scheme: https}\nservice: {port: 80}": "scrape https://seats-factory-exporter.monitoring.svc:80.\n",
	} {
		if got := install(t, "seats", values+notes).configMaps[0].Data["notes"]; !strings.Contains(got, want) {
			t.Errorf("%s: no %q in %s", values, want, got)
		}
	}
}
