{{- /* The spec of a pod, from a list of the context and of a command of the exporter, which may be empty. Values that
       the chart did not have formerly may be missing, because of --reuse-values. */ -}}
{{- define "factory-exporter.pod" -}}
{{- $ := index . 0 -}}
{{- $command := index . 1 -}}
{{- with $.Values -}}
automountServiceAccountToken: {{ (.serviceAccount).automount | default false }}
{{- with include "factory-exporter.serviceAccount" $ }}
serviceAccountName: {{ . | quote }}
{{- end }}
# A Service named factory-exporter would set variables such as FACTORY_EXPORTER_PORT, which look like flags.
enableServiceLinks: false
terminationGracePeriodSeconds: 10
{{- with $command }}
restartPolicy: Never
{{- end }}
# The image names its user, 65532. A cluster that assigns users, such as OpenShift, may take another.
securityContext:
  {{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- range $field, $value := .podSecurityContext }}{{ $_ := set $context $field $value }}{{ end }}
  {{- toYaml $context | nindent 2 }}
containers:
  - name: exporter
    image: {{ include "factory-exporter.image" $ | quote }}
    imagePullPolicy: {{ .image.pullPolicy }}
    {{- with printf "%s%s" (ternary (printf "\n- %s" $command) "" (ne $command "")) (include "factory-exporter.args" $) | trim }}
    args:
      {{- . | nindent 6 }}
    {{- end }}
    {{- with .extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    env:
      {{- if not (contains `"GOMEMLIMIT"` (toJson .extraEnv)) }}
      # A million bytes for each 1,048,576 of the container's limit leaves 5 % for what Go does not count.
      - name: MEMORY_LIMIT_MEBIBYTES
        valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}
      - name: GOMEMLIMIT
        value: $(MEMORY_LIMIT_MEBIBYTES)000000
      {{- end }}
      {{- with .extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- if not $command }}
    ports:
      - name: http
        containerPort: 10777
    livenessProbe:
      {{- include "factory-exporter.probe" (list $ "/-/healthy") | nindent 6 }}
    readinessProbe:
      {{- include "factory-exporter.probe" (list $ "/-/ready") | nindent 6 }}
    {{- end }}
    {{- with .resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- $context := dict "allowPrivilegeEscalation" false "capabilities" (dict "drop" (list "ALL")) "readOnlyRootFilesystem" true }}
      {{- range $field, $value := .securityContext }}{{ $_ := set $context $field $value }}{{ end }}
      {{- toYaml $context | nindent 6 }}
    {{- with include "factory-exporter.volumeMounts" $ | trim }}
    volumeMounts:
      {{- . | nindent 6 }}
    {{- end }}
{{- with include "factory-exporter.volumes" $ | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "dnsConfig" }}
{{- with index $.Values $field }}
{{ toYaml (dict $field .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "factory-exporter.serviceAccount" -}}
{{- with .Values.serviceAccount -}}
{{- if .create }}{{ .name | default (include "factory-exporter.fullname" $) }}{{ else }}{{ .name }}{{ end -}}
{{- end -}}
{{- end }}

{{- /* The kubelet has no password and no client certificate, so with a web configuration it can only connect. */ -}}
{{- define "factory-exporter.probe" -}}
{{- if (index . 0).Values.webConfigSecret -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: http
{{- end }}
timeoutSeconds: 5
{{- end }}

{{- define "factory-exporter.args" -}}
{{- if not .Values.flags.demo }}
- {{ printf "--factory.api-key-file=%s" (.Values.apiKeyFile | default "/etc/factory_exporter/key/api-key") | quote }}
{{- end }}
{{- if .Values.webConfigSecret }}
- --web.config.file=/etc/factory_exporter/web/web-config.yml
{{- end }}
{{- range $name, $value := .Values.flags }}
{{- if kindIs "bool" $value }}
- {{ printf "--%s%s" (ternary "" "no-" $value) $name | quote }}
{{- else if kindIs "float64" $value }}{{- /* so are the whole numbers of a values file */}}
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
{{- if not (or .Values.flags.demo .Values.apiKeyFile) }}
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
{{- if not (or .Values.flags.demo .Values.apiKeyFile) }}
- name: key
  secret:
    secretName: {{ .Values.apiKeySecret.name | quote }}
    defaultMode: 0444
    items:
      - key: {{ .Values.apiKeySecret.key | quote }}
        path: api-key
{{- end }}
{{- with .Values.webConfigSecret }}
- name: web
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0444
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
