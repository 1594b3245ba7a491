package chart_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// everything turns on all that the chart has, and sets every value but those of the demo.
const everything = `
imagePullSecrets: [{name: registry}]
apiKeySecret: {name: factory-emea, key: KEY_1}
flags:
  factory.url: https://api.eu.factory.ai
  factory.page-size: 50
  factory.request-timeout: 20s
  factory.listing-timeout: 5m
  factory.max-retries: 0
  factory.seat-limit: 1000000
  collector.window: [1d, 7d, 30d]
  collector.group-by: [email_domain, "metadata.cost center"]
  collector.group-limit: 20
  collector.per-user: true
  collector.usage: true
  collector.cache-ttl: 5m
  collector.max-stale: 1h
  web.telemetry-path: /seats
  web.timeout-offset: 1s
  web.max-requests: 10
  web.disable-exporter-metrics: true
  log.level: debug
  log.format: logfmt
  demo: false
webConfigSecret: factory-web
extraEnv:
  - {name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}
  - {name: NO_PROXY, valueFrom: {configMapKeyRef: {name: proxy, key: none}}}
extraVolumes: [{name: certificates, configMap: {name: certificates}}]
extraVolumeMounts: [{name: certificates, mountPath: /etc/ssl/more}]
extraEnvFrom: [{configMapRef: {name: proxy}}]
service: {type: NodePort, port: 80, annotations: {prometheus.io/scrape: "true"}}
serviceMonitor:
  enabled: true
  additionalLabels: {release: stack}
  interval: 2m
  scrapeTimeout: 1m
  scheme: https
  tlsConfig: {ca: {secret: {name: ca, key: ca.crt}}}
  basicAuth: {username: {name: scraper, key: user}, password: {name: scraper, key: password}}
  relabelings: [{targetLabel: environment, replacement: test}]
  metricRelabelings: [{sourceLabels: [__name__], regex: go_.*, action: drop}]
  sampleLimit: 5000
  targetLabels: [team]
podMonitor: {enabled: true, honorLabels: true, targetLabels: [team]}
prometheusRule: {enabled: true, additionalLabels: {release: stack}, runbookURL: https://docs.acme.example/runbook, grafanaURL: https://grafana.acme.example/}
dashboards: {enabled: true, labels: {dashboard: "yes"}, folder: Factory}
networkPolicy:
  enabled: true
  from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  egressPorts: [443, 3128]
resources: {limits: {memory: 256Mi}}
serviceAccount: {create: true, annotations: {example.com/owner: platform}}
podSecurityContext: {fsGroup: 65532}
securityContext: {runAsUser: 65532}
deploymentAnnotations: {example.com/owner: platform}
podAnnotations: {example.com/owner: platform}
podLabels: {team: platform}
commonLabels: {cost-center: "42"}
nodeSelector: {kubernetes.io/arch: arm64}
tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: platform}}}]
priorityClassName: monitoring
dnsConfig: {options: [{name: ndots, value: "1"}]}
revisionHistoryLimit: 0
extraManifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: monitoring, labels: {app.kubernetes.io/instance: "{{ .Release.Name }}"}}}]
fullnameOverride: seats
`

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// variants are values of which each takes another way through the templates.
var variants = map[string]string{
	"none":       "",
	"everything": everything,
	"demo":       "flags: {demo: true}",
	"key file": `apiKeyFile: /mnt/secrets/key
extraVolumes: [{name: key, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: factory}}}]
extraVolumeMounts: [{name: key, mountPath: /mnt/secrets, readOnly: true}]`,
}

func TestVariants(t *testing.T) {
	for name, values := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, err := run(t, values, "lint", "--strict", checkout)
			if err != nil || strings.Contains(stdout, "[WARNING]") {
				t.Errorf("lint: %v\n%s%s", err, stdout, stderr)
			}
			manifest := render(t, checkout, "emea", values)
			if render(t, packaged, "emea", values) != manifest {
				t.Error("the package installs something else")
			}
			all := decode(t, manifest)
			for _, object := range all.allMetadata {
				if object.GetNamespace() != namespace || object.GetLabels()["app.kubernetes.io/instance"] != "emea" {
					t.Errorf("%s is in namespace %q with the labels %v", object.GetName(), object.GetNamespace(), object.GetLabels())
				}
			}
			checkPodsAreAdmittedAsRestricted(t, all)
			checkEveryMountHasAVolumeAndEveryFileAMount(t, all)
			checkHelmTestChecksWhatTheExporterDoes(t, all)
		})
	}
}

func checkPodsAreAdmittedAsRestricted(t *testing.T, all objects) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	pod := all.deployment.Spec.Template
	for _, spec := range []*corev1.PodSpec{&pod.Spec, &all.test.Spec} {
		if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, spec)); !result.Allowed {
			t.Error(result.ForbiddenDetail())
		}
	}
}

func checkEveryMountHasAVolumeAndEveryFileAMount(t *testing.T, all objects) {
	t.Helper()
	container := all.container(t)
	var volumes, mounted []string
	for _, volume := range all.deployment.Spec.Template.Spec.Volumes {
		volumes = append(volumes, volume.Name)
	}
	for _, mount := range container.VolumeMounts {
		mounted = append(mounted, mount.Name)
	}
	if !slices.Equal(volumes, mounted) {
		t.Errorf("volumes %q, mounts %q", volumes, mounted)
	}
	for _, arg := range container.Args {
		_, file, ok := strings.Cut(arg, "="+mounts)
		if ok && !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.MountPath == mounts+filepath.Dir(file) && m.ReadOnly
		}) {
			t.Errorf("nothing is mounted for %s", arg)
		}
	}
}

func checkHelmTestChecksWhatTheExporterDoes(t *testing.T, all objects) {
	t.Helper()
	if all.test.Annotations["helm.sh/hook"] != "test" || all.test.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("it is no test of Helm: %v", all.test)
	}
	want := all.deployment.Spec.Template.Spec.DeepCopy()
	container := &want.Containers[0]
	container.Args = append([]string{"check"}, container.Args...)
	container.Ports, container.LivenessProbe, container.ReadinessProbe = nil, nil, nil
	want.RestartPolicy = all.test.Spec.RestartPolicy
	if !equality.Semantic.DeepEqual(all.test.Spec, *want) {
		t.Errorf("got %v\nwant %v", all.test.Spec, want)
	}
}

func TestPackageHasRegularFilesAndNoOthersThanTheChartNeeds(t *testing.T) {
	file, err := os.Open(packaged)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	allowed := regexp.MustCompile(`^factory-exporter/(Chart\.yaml|LICENSE|README\.md|\.helmignore|values\.yaml|values\.schema\.json|` +
		`templates/[a-z_]+\.(yaml|tpl)|templates/NOTES\.txt|files/factory\.rules\.yml|files/dashboards/[a-z-]+\.json)$`)
	var names []string
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg || header.Size == 0 || !allowed.MatchString(header.Name) {
			t.Errorf("in the package: %s, type %c, %d bytes", header.Name, header.Typeflag, header.Size)
		}
		names = append(names, header.Name)
	}
	for _, name := range []string{"values.schema.json", "files/factory.rules.yml", "LICENSE", "README.md"} {
		if !slices.Contains(names, "factory-exporter/"+name) {
			t.Errorf("not in the package: %s", name)
		}
	}
}

func TestPodHasNothingItDoesNotNeed(t *testing.T) {
	all := install(t, "factory-exporter", "")
	pod := all.deployment.Spec.Template.Spec
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("variables of Services reach the exporter")
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod has a token for the API of Kubernetes")
	}
	if security := all.container(t).SecurityContext; security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		t.Error("the root file system is writable")
	}
	if replicas := all.deployment.Spec.Replicas; replicas == nil || *replicas != 1 {
		t.Errorf("replicas: %v, each of which lists the organization", replicas)
	}
}

// The exporter itself says whether it takes the arguments.
func TestExporterTakesEveryFlagOfTheValues(t *testing.T) {
	container := install(t, "seats", everything).container(t)
	root := write(t, map[string]string{"key/api-key": "fk-test", "web/web-config.yml": "{}"})
	address := startContainer(t, container, root)
	if status, _ := get(t, "http://"+address+"/-/ready"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		"--factory.seat-limit=1000000", "--factory.max-retries=0", "--collector.per-user", "--no-demo",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.cost center",
	} {
		if !slices.Contains(container.Args, want) {
			t.Errorf("no %s in %q", want, container.Args)
		}
	}
}

func TestSchemaHasEveryFlagOfTheExporterThatTheChartDoesNotSet(t *testing.T) {
	var schema struct {
		Properties struct {
			Flags struct {
				Properties map[string]struct{ Type, Ref string }
			}
		}
	}
	text := strings.ReplaceAll(readFile(t, "charts/factory-exporter/values.schema.json"), `"$ref"`, `"ref"`)
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{} // a kind of value, by flag
	for name, property := range schema.Properties.Flags.Properties {
		switch {
		case property.Type == "boolean":
			got[name] = "on or off"
		case property.Ref == "#/definitions/list":
			got[name] = "repeatable"
		default:
			got[name] = "one value"
		}
	}
	want := flags(t)
	for _, name := range []string{"factory.api-key-file", "web.config.file", "web.listen-address", "web.systemd-socket"} {
		if want[name] == "" {
			t.Errorf("the exporter has no flag %s", name)
		}
		delete(want, name)
	}
	for name, kind := range want {
		if got[name] != kind {
			t.Errorf("values.schema.json has the flag %s as %q, want %q", name, got[name], kind)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("values.schema.json has flags that the exporter does not have: %v", got)
	}

	var values struct{ Flags map[string]any }
	if err := yaml.Unmarshal([]byte(everything), &values); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if _, ok := values.Flags[name]; !ok {
			t.Errorf("the constant everything does not set the flag %s", name)
		}
	}
}

// A Service sets variables in pods, whose names begin with its own. Pods of this chart do
// not get them, but a pod that somebody else wrote does, and takes them for flags.
func TestNoVariableOfTheServiceIsThatOfAFlag(t *testing.T) {
	ofService := regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT|SERVICE_PORT_HTTP|PORT|PORT_10777_TCP(_(PROTO|PORT|ADDR))?)$`)
	for name := range flags(t) {
		if variable := strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name)); ofService.MatchString(variable) {
			t.Errorf("Kubernetes sets FACTORY_EXPORTER_%s for a Service named factory-exporter, and it is the flag --%s", variable, name)
		}
	}
}

// flags returns the exporter's flags, and what kind of value each takes, as its help has
// them.
func flags(t *testing.T) map[string]string {
	t.Helper()
	output, err := exec.Command(exporter, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, help, _ := strings.Cut(string(output), "\nFlags:\n")
	help, _, _ = strings.Cut(help, "\n\n") // commands follow
	kinds := map[string]string{}
	for _, flag := range regexp.MustCompile(`(?m)^  (?:-\w, |    )--(\[no-\])?([a-z.-]+)(?:=\S+( \.\.\.)?)?`).FindAllStringSubmatch(help, -1) {
		switch toggle, name, repeatable := flag[1], flag[2], flag[3]; {
		case name == "help" || name == "version":
		case toggle != "":
			kinds[name] = "on or off"
		case repeatable != "":
			kinds[name] = "repeatable"
		default:
			kinds[name] = "one value"
		}
	}
	return kinds
}

// The kubelet replaces the files of a Secret where a whole folder is mounted, and the
// exporter reads its file again.
func TestSecretIsMountedSoThatARotatedKeyArrives(t *testing.T) {
	all := install(t, "seats", "apiKeySecret: {name: seats, key: KEY}")
	container := all.container(t)
	at := slices.IndexFunc(all.deployment.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil })
	secret := all.deployment.Spec.Template.Spec.Volumes[at]
	if items := secret.Secret.Items; secret.Secret.SecretName != "seats" || len(items) != 1 || items[0].Key != "KEY" ||
		!slices.Contains(container.Args, "--factory.api-key-file="+mounts+"key/"+items[0].Path) {
		t.Errorf("the volume is %v, the arguments are %q", secret, container.Args)
	}
	if *secret.Secret.DefaultMode&0o004 == 0 {
		t.Errorf("the user of the exporter cannot read a file with mode %o", *secret.Secret.DefaultMode)
	}
	at = slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == secret.Name })
	if mounted := container.VolumeMounts[at]; mounted.SubPath != "" || mounted.MountPath != mounts+"key" {
		t.Errorf("the Secret is mounted as %v", mounted)
	}
}

func TestProbesSucceedWithAndWithoutAWebConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		values, webConfig string
		status            int // of a page, asked for without a password
	}{
		"none":                 {"", "", http.StatusOK},
		"basic authentication": {"webConfigSecret: web", "basic_auth_users: {prometheus: $2y$04$wjuQuQyOjDZKMUMXEC1seuhQTTzCNZpzO6bdjW2l/XSZXGQDU9dUm}", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			container := install(t, "seats", test.values).container(t)
			address := startContainer(t, container, write(t, map[string]string{"key/api-key": "fk-test", "web/web-config.yml": test.webConfig}))
			if status, _ := get(t, "http://"+address+"/-/healthy"); status != test.status {
				t.Fatalf("status %d, want %d", status, test.status)
			}
			for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
				// As the kubelet does it.
				switch {
				case probe.HTTPGet != nil && probe.HTTPGet.Port.String() == "http":
					if status, _ := get(t, "http://"+address+probe.HTTPGet.Path); status < 200 || status >= 400 {
						t.Errorf("%s: status %d", probe.HTTPGet.Path, status)
					}
				case probe.TCPSocket != nil && probe.TCPSocket.Port.String() == "http":
					connection, err := net.Dial("tcp", address)
					if err != nil {
						t.Fatal(err)
					}
					connection.Close()
				default:
					t.Errorf("another probe: %v", probe)
				}
			}
		})
	}
}

func TestServiceReachesThePortThatTheExporterListensOn(t *testing.T) {
	all := install(t, "seats", "")
	port := all.container(t).Ports[0]
	output, err := exec.Command(exporter, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`--web\.listen-address=:10777 `).Match(output) || port.ContainerPort != 10777 {
		t.Errorf("the exporter listens on another port than %d", port.ContainerPort)
	}
	if service := all.service.Spec.Ports[0]; service.TargetPort.String() != port.Name {
		t.Errorf("the Service goes to port %s of the pod", service.TargetPort.String())
	}
}

func TestServiceMonitorSelectsTheServiceAndMakesTheReleaseTheJob(t *testing.T) {
	selects := func(selector *metav1.LabelSelector, of map[string]string) bool {
		chosen, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && chosen.Matches(labels.Set(of))
	}
	for name, values := range map[string]string{"defaults": "serviceMonitor: {enabled: true}", "everything": everything} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := install(t, "emea", values)
			monitor := all.monitors[0]
			if !selects(&monitor.Spec.Selector, all.service.Labels) || selects(&monitor.Spec.Selector, install(t, "other", "").service.Labels) {
				t.Errorf("selects %v", monitor.Spec.Selector)
			}
			endpoint := monitor.Spec.Endpoints[0]
			if job := all.service.Labels[monitor.Spec.JobLabel]; job != "emea" || endpoint.Port != all.service.Spec.Ports[0].Name {
				t.Errorf("the job is %q, the port %q", job, endpoint.Port)
			}
			interval, err1 := model.ParseDuration(string(endpoint.Interval))
			timeout, err2 := model.ParseDuration(string(endpoint.ScrapeTimeout))
			if err := errors.Join(err1, err2); err != nil || timeout > interval {
				t.Errorf("interval %s, timeout %s, %v", endpoint.Interval, endpoint.ScrapeTimeout, err)
			}
			if name == "defaults" {
				if want := (monitoringv1.Endpoint{Port: "http", Path: "/metrics", Interval: "1m", ScrapeTimeout: "30s"}); !equality.Semantic.DeepEqual(endpoint, want) {
					t.Errorf("got %v, want %v", endpoint, want)
				}
				return
			}
			if endpoint.Path != "/seats" || endpoint.TLSConfig == nil || endpoint.BasicAuth == nil ||
				len(endpoint.RelabelConfigs) != 1 || len(endpoint.MetricRelabelConfigs) != 1 || monitor.Labels["release"] != "stack" {
				t.Errorf("got %v", endpoint)
			}
			pods, pod := all.podMonitor, all.deployment.Spec.Template.Labels
			if !selects(&pods.Spec.Selector, pod) || pod[pods.Spec.JobLabel] != "emea" || pods.Spec.PodMetricsEndpoints[0].Path != "/seats" {
				t.Errorf("the PodMonitor is %v", pods.Spec)
			}
		})
	}
}

func TestPrometheusRuleIsTheAlertsOfTheProject(t *testing.T) {
	rules := strings.NewReplacer(
		"https://runbook.example", "https://docs.acme.example/runbook",
		"https://grafana.example", "https://grafana.acme.example",
	).Replace(readFile(t, "alerts/factory.rules.yml"))
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(rules), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Groups) == 0 {
		t.Fatal("there is none")
	}
	got := install(t, "seats", everything).rule
	if !equality.Semantic.DeepEqual(got.Spec, want) {
		t.Errorf("got %v\nwant %v", got.Spec, want)
	}
	if got.Labels["release"] != "stack" {
		t.Errorf("labels: %v", got.Labels)
	}
}

func TestConfigMapsAreTheDashboardsOfTheProject(t *testing.T) {
	files, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	want := map[string]string{}
	for _, file := range files {
		want[filepath.Base(file)] = strings.TrimSuffix(readFile(t, "dashboards/"+filepath.Base(file)), "\n")
	}
	got := map[string]string{}
	for _, configMap := range install(t, "seats", everything).configMaps {
		size := 0
		if configMap.Name == "more" { // one of extraManifests
			continue
		}
		for file, text := range configMap.Data {
			got[file] = text
			size += len(file) + len(text)
		}
		if size >= 1<<20 {
			t.Errorf("ConfigMap %s has %d bytes, Kubernetes takes less than 1 MiB", configMap.Name, size)
		}
		if configMap.Labels["dashboard"] != "yes" || configMap.Annotations["grafana_folder"] != "Factory" {
			t.Errorf("ConfigMap %s has the labels %v and the annotations %v", configMap.Name, configMap.Labels, configMap.Annotations)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q, or their texts differ", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestNetworkPolicyLetsScrapesInAndRequestsOut(t *testing.T) {
	all := install(t, "seats", everything)
	selector, err := metav1.LabelSelectorAsSelector(&all.policy.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(all.deployment.Spec.Template.Labels)) || !selector.Matches(labels.Set(all.test.Labels)) ||
		selector.Matches(labels.Set(install(t, "other", "").deployment.Spec.Template.Labels)) {
		t.Errorf("selects %s", selector)
	}
	in, out := all.policy.Spec.Ingress, all.policy.Spec.Egress
	if len(in) != 1 || len(in[0].From) != 1 || in[0].Ports[0].Port.String() != all.container(t).Ports[0].Name {
		t.Errorf("in: %v", in)
	}
	var ports []string
	for _, port := range out[0].Ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		ports = append(ports, string(protocol)+" "+port.Port.String())
	}
	if want := []string{"UDP 53", "TCP 53", "UDP 1053", "TCP 1053", "UDP 5353", "TCP 5353", "UDP 8053", "TCP 8053", "TCP 443", "TCP 3128"}; len(out) != 1 || len(out[0].To) != 0 || !slices.Equal(ports, want) {
		t.Errorf("out: %v, want %q", out, want)
	}
}

func TestExamplesOfTheDocumentationInstall(t *testing.T) {
	examples := regexp.MustCompile("(?s)```yaml\n# values.yaml\n(.*?)```").FindAllStringSubmatch(readFile(t, "docs/kubernetes.md"), -1)
	if len(examples) == 0 {
		t.Error("there are none")
	}
	for _, example := range examples {
		install(t, "factory-exporter", example[1])
	}
}
