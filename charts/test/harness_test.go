// Package chart_test holds what people deploy against what will read it: the Helm chart
// against Helm, the types of Kubernetes and of the Prometheus operator, and the exporter;
// the quickstart against Compose.
//
// The tests run the helm that $HELM names, or else the one in $PATH.
package chart_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

const (
	checkout  = "../factory-exporter"
	namespace = "monitoring"
)

var (
	helm     = cmp.Or(os.Getenv("HELM"), "helm")
	exporter string // the path of the program
	packaged string // the path of the chart as a release packages it
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "factory-exporter-chart-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	exporter = filepath.Join(dir, "factory_exporter")
	packaged = filepath.Join(dir, "factory-exporter-0.0.0.tgz")
	build := exec.Command("go", "build", "-o", exporter, ".")
	build.Dir = "../.."
	for _, cmd := range []*exec.Cmd{build, exec.Command(helm, "package", checkout, "--destination", dir)} {
		if output, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s(HELM names the helm to run: HELM=$(.ci/tool helm3))\n", cmd, err, output)
			return 1
		}
	}
	return m.Run()
}

// run runs helm with values, which are YAML, and returns what it writes to stdout and to
// stderr.
func run(t *testing.T, values string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	cmd := exec.Command(helm, append(args, "--values", "-")...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(values), &out, &log
	err = cmd.Run()
	return out.String(), log.String(), err
}

// render returns the manifest of a release. The values are YAML.
func render(t *testing.T, chart, release, values string) string {
	t.Helper()
	manifest, stderr, err := run(t, values, "template", release, chart, "--namespace", namespace)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, stderr)
	}
	return manifest
}

// objects are those of one release, or of several parts of a parent chart.
type objects struct {
	deployment  *appsv1.Deployment
	service     *corev1.Service // the last one
	services    []*corev1.Service
	monitors    []*monitoringv1.ServiceMonitor
	podMonitor  *monitoringv1.PodMonitor
	rule        *monitoringv1.PrometheusRule
	policy      *networkingv1.NetworkPolicy
	test        *corev1.Pod
	configMaps  []*corev1.ConfigMap
	allMetadata []metadata
}

type metadata interface {
	GetName() string
	GetNamespace() string
	GetLabels() map[string]string
}

// install returns the objects of a release of the chart in the checkout.
func install(t *testing.T, release, values string) objects {
	t.Helper()
	return decode(t, render(t, checkout, release, values))
}

// decode returns the objects of a manifest. It decodes them as strictly as the API server
// does for kubectl: an unknown or repeated field, or another kind of object, fails the
// test.
func decode(t *testing.T, manifest string) objects {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, monitoringv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))

	var all objects
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(document)) == 0 { // nothing is turned on
			continue
		}
		object, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		switch object := object.(type) {
		case *appsv1.Deployment:
			all.deployment = object
		case *corev1.Service:
			all.service = object
			all.services = append(all.services, object)
		case *monitoringv1.ServiceMonitor:
			all.monitors = append(all.monitors, object)
		case *monitoringv1.PodMonitor:
			all.podMonitor = object
		case *monitoringv1.PrometheusRule:
			all.rule = object
		case *networkingv1.NetworkPolicy:
			all.policy = object
		case *corev1.Pod:
			all.test = object
		case *corev1.ConfigMap:
			all.configMaps = append(all.configMaps, object)
		case *corev1.ServiceAccount:
		default:
			t.Fatalf("the chart has a %s", kind)
		}
		meta := object.(metadata)
		for name, value := range meta.GetLabels() {
			for _, problem := range append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...) {
				t.Errorf("label %s: %q of %s: %s", name, value, meta.GetName(), problem)
			}
		}
		all.allMetadata = append(all.allMetadata, meta)
	}
}

// container is the one container of the Deployment.
func (o objects) container(t *testing.T) corev1.Container {
	t.Helper()
	containers := o.deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("the pod has %d containers", len(containers))
	}
	return containers[0]
}

// readFile returns the text of a file of the project.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
