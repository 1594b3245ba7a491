{{- define "factory-exporter.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- .Values.fullnameOverride | default $name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "factory-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "factory-exporter.labels" -}}
{{ include "factory-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- define "factory-exporter.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* The kubelet has no password and no client certificate, so with a web configuration it can only connect. */ -}}
{{- define "factory-exporter.probe" -}}
{{- if .Values.webConfigSecret -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: /-/healthy
  port: http
{{- end }}
timeoutSeconds: 5
{{- end }}

{{- /* Whole numbers of a values file are floating-point numbers here. */ -}}
{{- define "factory-exporter.args" -}}
{{- if not .Values.flags.demo }}
- --factory.api-key-file=/etc/factory_exporter/key/api-key
{{- end }}
{{- if .Values.webConfigSecret }}
- --web.config.file=/etc/factory_exporter/web/web-config.yml
{{- end }}
{{- range $name, $value := .Values.flags }}
{{- if kindIs "bool" $value }}
- {{ printf "--%s%s" (ternary "" "no-" $value) $name | quote }}
{{- else if kindIs "float64" $value }}
- {{ printf "--%s=%d" $name (int64 $value) | quote }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%s" $name . | quote }}
{{- end }}
{{- else }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Directories, because a file that is mounted by subPath stays the old one when the Secret changes. */ -}}
{{- define "factory-exporter.volumeMounts" -}}
{{- if not .Values.flags.demo }}
- name: key
  mountPath: /etc/factory_exporter/key
  readOnly: true
{{- end }}
{{- if .Values.webConfigSecret }}
- name: web
  mountPath: /etc/factory_exporter/web
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Only the one container sees the files, so it may read them as whatever user it runs. */ -}}
{{- define "factory-exporter.volumes" -}}
{{- if not .Values.flags.demo }}
- name: key
  secret:
    secretName: {{ .Values.apiKeySecret.name }}
    defaultMode: 0444
    items:
      - key: {{ .Values.apiKeySecret.key | quote }}
        path: api-key
{{- end }}
{{- with .Values.webConfigSecret }}
- name: web
  secret:
    secretName: {{ . }}
    defaultMode: 0444
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
