{{- /* A Service's name begins with a letter and has no dot, which a release's name may. */ -}}
{{- define "factory-exporter.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- $name = .Values.fullnameOverride | default $name | lower -}}
{{- if regexMatch "^[0-9]" $name }}{{ $name = printf "factory-%s" $name }}{{ end -}}
{{- regexReplaceAll "[^a-z0-9]" $name "-" | trunc 63 | trimAll "-" -}}
{{- end }}

{{- define "factory-exporter.selectorLabels" -}}
{{- toYaml (dict "app.kubernetes.io/name" .Chart.Name "app.kubernetes.io/instance" .Release.Name) -}}
{{- end }}

{{- /* Labels that values give an object win over ours. */ -}}
{{- define "factory-exporter.labels" -}}
{{- $ := index . 0 -}}
{{- $selector := include "factory-exporter.selectorLabels" $ | fromYaml -}}
{{- range $name := list "podLabels" "commonLabels" }}{{ range $label, $_ := $selector }}
{{- if hasKey (index $.Values $name | default dict) $label -}}
{{- fail (printf "%s: take away %s, by which the chart finds its pod" $name $label) -}}
{{- end }}{{ end }}{{ end -}}
{{- $ours := dict
  "app.kubernetes.io/version" $.Chart.AppVersion
  "app.kubernetes.io/managed-by" $.Release.Service
  "helm.sh/chart" (printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_.")
-}}
{{- merge (dict) (index . 1 | default dict) ($.Values.commonLabels | default dict) $selector $ours | toYaml -}}
{{- end }}

{{- /* The metadata of an object, from a dict of the context and of what is its own: name, namespace, labels, annotations. */ -}}
{{- define "factory-exporter.metadata" -}}
name: {{ .name | default (include "factory-exporter.fullname" .context) | quote }}
namespace: {{ .namespace | default .context.Release.Namespace | quote }}
labels:
  {{- include "factory-exporter.labels" (list .context .labels) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "factory-exporter.image" -}}
{{- $released := (index .Chart.Annotations "artifacthub.io/images" | fromYamlArray | first).image -}}
{{- $version := regexFind "[:@][^/]*$" $released -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository | default (trimSuffix $version $released) -}}
{{- with (.Values.global).imageRegistry | default $image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^[^/]*[.:][^/]*/" $name "") -}}
{{- end -}}
{{- if $image.tag }}{{ $version = printf ":%s" $image.tag }}{{ end -}}
{{- /* The chart's former values had the digest of their release, which --reuse-values brings along. They had no registry. */ -}}
{{- if and $image.digest (hasKey $image "registry") }}{{ $version = printf "@%s" $image.digest }}{{ end -}}
{{- $name }}{{ $version -}}
{{- end }}
