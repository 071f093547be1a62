{{- define "hourbook-agent.labels" -}}
app.kubernetes.io/name: hourbook-agent
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "hourbook-agent.selector" -}}
app.kubernetes.io/name: hourbook-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
