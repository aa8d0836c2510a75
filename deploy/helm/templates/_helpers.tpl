{{/* A file of deploy/kustomize; dict of root and file. */}}
{{- define "toolset.file" -}}
{{- $text := .root.Files.Get (printf "kustomize/%s" .file) -}}
{{- if not $text -}}
{{- fail (printf "kustomize/%s is missing: in the chart's folder, kustomize must be a symbolic link to deploy/kustomize" .file) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* The labels of deploy/kustomize, which pods have too. */}}
{{- define "toolset.podLabels" -}}
app.kubernetes.io/name: kubernaut-dynamic-toolset
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: kubernaut
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "toolset.labels" -}}
{{ include "toolset.podLabels" . }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
An object of deploy/kustomize in the namespace of the release; dict of root and file, and optionally of namespace, for one
that belongs elsewhere, of further labels, and of further rules of a Role.
*/}}
{{- define "toolset.object" -}}
{{- $object := fromYaml (include "toolset.file" .) -}}
{{- $labels := fromYaml (include "toolset.labels" .root) -}}
{{- $_ := set $object.metadata "labels" (merge $labels (.labels | default dict) ($object.metadata.labels | default dict)) -}}
{{- if or .namespace $object.metadata.namespace -}}
{{- $_ := set $object.metadata "namespace" (.namespace | default .root.Release.Namespace) -}}
{{- end -}}
{{- with .rules -}}
{{- $_ := set $object "rules" (concat $object.rules .) -}}
{{- end -}}
{{- range $object.subjects -}}
{{- $_ := set . "namespace" $.root.Release.Namespace -}}
{{- end -}}
{{- toYaml $object -}}
{{- end -}}

{{/* The whole settings file: the base's, then what other values imply, then the value `settings`. */}}
{{- define "toolset.settings" -}}
{{- $settings := fromYaml (include "toolset.file" (dict "root" . "file" "base/settings.yaml")) -}}
{{- $_ := set $settings.target "namespace" .Release.Namespace -}}
{{- if .Values.status.enabled -}}
{{- $files := dict "tls_cert_file" "/etc/toolset-status/tls.crt" "tls_key_file" "/etc/toolset-status/tls.key" -}}
{{- $_ := set $settings "status" (merge $files (dict "listen" "[::]:8443" "auth" "kubernetes")) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $settings .Values.settings) -}}
{{- end -}}

{{- define "toolset.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}
