{{- define "sluice.fullname" -}}
{{- if contains "sluice" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-sluice" .Release.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Takes (dict "root" . "component" "api"). */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "sluice.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "sluice.supervisorImage" -}}
{{ .Values.supervisorImage.repository }}:{{ .Values.supervisorImage.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "sluice.jobsNamespace" -}}
{{- if eq .Values.jobs.namespace .Release.Namespace -}}{{ fail "jobs.namespace must be another one than the release's: scripts run there, and nobody else may" }}{{- end -}}
{{ .Values.jobs.namespace | default (printf "%s-runs" .Release.Namespace) }}
{{- end -}}

{{- define "sluice.secretName" -}}
{{ .Values.existingSecret | default (include "sluice.fullname" .) }}
{{- end -}}

{{- define "sluice.serversSecret" -}}
{{ include "sluice.fullname" . }}-servers
{{- end -}}

{{/* Address of a service of this release that every namespace can use. */}}
{{- define "sluice.host" -}}
{{ include "sluice.fullname" .root }}-{{ .component }}.{{ .root.Release.Namespace }}.svc
{{- end -}}

{{- define "sluice.natsUrl" -}}
{{- if .Values.nats.bundled -}}nats://{{ include "sluice.host" (dict "root" . "component" "nats") }}:4222{{- else -}}{{ required "nats.url is needed where nats.bundled is false" .Values.nats.url }}{{- end -}}
{{- end -}}

{{- define "sluice.minioEndpoint" -}}
{{- if .Values.minio.bundled -}}http://{{ include "sluice.host" (dict "root" . "component" "minio") }}:9000{{- else -}}{{ required "minio.endpoint is needed where minio.bundled is false" .Values.minio.endpoint }}{{- end -}}
{{- end -}}

{{/* Bytes of each stream: those of the bundled server are small, empty leaves it to the components. */}}
{{- define "sluice.streamBytes" -}}
{{- if .Values.nats.streamBytes -}}{{ int64 .Values.nats.streamBytes }}{{- else if .Values.nats.bundled -}}67108864{{- end -}}
{{- end -}}

{{/* What was made at the first install is taken from the cluster again. Made once while a chart is rendered, so that all templates see the same. */}}
{{- define "sluice.makeSecrets" -}}
{{- if not (hasKey .Values "made") -}}
{{- $old := (lookup "v1" "Secret" .Release.Namespace (include "sluice.fullname" .)).data | default dict -}}
{{- $servers := (lookup "v1" "Secret" .Release.Namespace (include "sluice.serversSecret" .)).data | default dict -}}
{{- $own := dict
  "OSCAR_PASSWORD" (.Values.auth.password | default (get $old "OSCAR_PASSWORD" | b64dec) | default (randAlphaNum 24))
  "SLUICE_SECRETS_KEY" (get $old "SLUICE_SECRETS_KEY" | b64dec | default (printf "k1:%s" (randBytes 32)))
  "SLUICE_RUNNER_KEY" (get $old "SLUICE_RUNNER_KEY" | b64dec | default (randAlphaNum 48)) -}}
{{- if .Values.storageEvents.webhook.enabled -}}
{{- $_ := set $own "SLUICE_WEBHOOK_TOKEN" (.Values.storageEvents.webhook.token | default (get $old "SLUICE_WEBHOOK_TOKEN" | b64dec) | default (randAlphaNum 32)) -}}
{{- end -}}
{{- $redisPassword := get $servers "REDIS_PASSWORD" | b64dec | default (randAlphaNum 24) -}}
{{- $theirs := dict
  "NATS_TOKEN" (get $servers "NATS_TOKEN" | b64dec | default (randAlphaNum 32))
  "REDIS_PASSWORD" $redisPassword
  "REDIS_URL" (printf "redis://:%s@%s:6379/0" $redisPassword (include "sluice.host" (dict "root" . "component" "redis")))
  "MINIO_ACCESS_KEY" (get $servers "MINIO_ACCESS_KEY" | b64dec | default (printf "sluice-%s" (randAlphaNum 8)))
  "MINIO_SECRET_KEY" (get $servers "MINIO_SECRET_KEY" | b64dec | default (randAlphaNum 32)) -}}
{{- $_ := set .Values "made" (dict "own" $own "servers" $theirs) -}}
{{- end -}}
{{- end -}}

{{/* Changes when a secret of the chart does. */}}
{{- define "sluice.secretsChecksum" -}}
{{- include "sluice.makeSecrets" . -}}
{{- toJson .Values.made | sha256sum -}}
{{- end -}}

{{/* The same for the bundled servers, which a new password of the administrator must not restart. */}}
{{- define "sluice.serversChecksum" -}}
{{- include "sluice.makeSecrets" . -}}
{{- toJson .Values.made.servers | sha256sum -}}
{{- end -}}

{{- define "sluice.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sluice.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Environment of every component: addresses in clear, credentials from secrets. */}}
{{- define "sluice.env" -}}
- { name: SLUICE_LOG_LEVEL, value: {{ .Values.logLevel | quote }} }
- { name: SLUICE_NAMESPACE, value: {{ include "sluice.fullname" . | quote }} }
- { name: NATS_URL, value: {{ include "sluice.natsUrl" . | quote }} }
- { name: NATS_REPLICAS, value: {{ .Values.nats.replicas | quote }} }
{{- with include "sluice.streamBytes" . }}
- { name: NATS_STREAM_BYTES, value: {{ . | quote }} }
{{- end }}
- { name: MINIO_ENDPOINT, value: {{ include "sluice.minioEndpoint" . | quote }} }
- { name: MINIO_PUBLIC_ENDPOINT, value: {{ .Values.minio.publicEndpoint | quote }} }
- { name: MINIO_REGION, value: {{ .Values.minio.region | quote }} }
{{- with .Values.tracing.endpoint }}
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }} }
{{- end }}
{{- if .Values.nats.bundled }}
- name: NATS_TOKEN
  valueFrom: { secretKeyRef: { name: {{ include "sluice.serversSecret" . }}, key: NATS_TOKEN } }
{{- end }}
{{- if .Values.redis.bundled }}
- name: REDIS_URL
  valueFrom: { secretKeyRef: { name: {{ include "sluice.serversSecret" . }}, key: REDIS_URL } }
{{- end }}
{{- if .Values.minio.bundled }}
- name: MINIO_ACCESS_KEY
  valueFrom: { secretKeyRef: { name: {{ include "sluice.serversSecret" . }}, key: MINIO_ACCESS_KEY } }
- name: MINIO_SECRET_KEY
  valueFrom: { secretKeyRef: { name: {{ include "sluice.serversSecret" . }}, key: MINIO_SECRET_KEY } }
{{- end }}
{{- end -}}

{{- define "sluice.envFrom" -}}
{{- if not .Values.nats.bundled }}{{ with .Values.nats.existingSecret }}
- secretRef: { name: {{ . }} }
{{- end }}{{ end }}
{{- if not .Values.redis.bundled }}
- secretRef: { name: {{ required "redis.existingSecret is needed where redis.bundled is false" .Values.redis.existingSecret }} }
{{- end }}
{{- if not .Values.minio.bundled }}
- secretRef: { name: {{ required "minio.existingSecret is needed where minio.bundled is false" .Values.minio.existingSecret }} }
{{- end }}
{{- end -}}

{{/* Keys that only api and scheduler have. */}}
{{- define "sluice.keysEnv" -}}
- name: SLUICE_SECRETS_KEY
  valueFrom: { secretKeyRef: { name: {{ include "sluice.secretName" . }}, key: SLUICE_SECRETS_KEY } }
- name: SLUICE_RUNNER_KEY
  valueFrom: { secretKeyRef: { name: {{ include "sluice.secretName" . }}, key: SLUICE_RUNNER_KEY } }
{{- end -}}

{{/* What api and builder know of images that users have built: by each the same, since either looks after them. */}}
{{- define "sluice.buildsEnv" -}}
{{- if .Values.builder.enabled }}
{{- $images := .Values.builder.images }}
- { name: REGISTRY_HOST, value: {{ required "registry.host is needed where builder.enabled is true" .Values.registry.host | quote }} }
- { name: SLUICE_REGISTRY_PULL_HOST, value: {{ .Values.registry.pullHost | quote }} }
- { name: SLUICE_REGISTRY_INSECURE, value: {{ .Values.registry.insecure | quote }} }
- { name: SLUICE_REGISTRY_MIRRORS, value: {{ .Values.registry.mirrors | quote }} }
- { name: SLUICE_REGISTRY_WORKLOAD, value: {{ .Values.registry.workload | quote }} }
- { name: SLUICE_REGISTRY_CONFIG, value: {{ .Values.registry.config | quote }} }
- { name: SLUICE_REGISTRY_STORAGE, value: {{ .Values.registry.storage | quote }} }
- { name: SLUICE_REGISTRY_COLLECT_INTERVAL, value: {{ int64 .Values.registry.collectInterval | quote }} }
- { name: SLUICE_BUILD_BASES, value: {{ .Values.builder.bases | quote }} }
- { name: SLUICE_BUILD_QUEUE, value: {{ int64 .Values.builder.queue | quote }} }
- { name: SLUICE_BUILD_USER_QUEUE, value: {{ int64 .Values.builder.userQueue | quote }} }
- { name: SLUICE_BUILD_USER_CONCURRENCY, value: {{ int64 .Values.builder.userConcurrency | quote }} }
- { name: SLUICE_IMAGE_UNUSED, value: {{ int64 $images.unused | quote }} }
- { name: SLUICE_IMAGE_MAX_AGE, value: {{ int64 $images.maxAge | quote }} }
- { name: SLUICE_IMAGE_KEEP, value: {{ int64 $images.keep | quote }} }
- { name: SLUICE_IMAGE_PRUNE_INTERVAL, value: {{ int64 $images.pruneInterval | quote }} }
{{- with .Values.builder.catalogue }}
- { name: SLUICE_BUILDERS, value: {{ toJson . | quote }} }
{{- end }}
{{- if .Values.builder.accountsSecret }}
- { name: SLUICE_ACCOUNTS_FILE, value: /etc/sluice/accounts/accounts.yaml }
{{- end }}
{{- end }}
{{- end -}}

{{/* Names of the secrets that only components which deal with images have. Takes (dict "root" . "component" "api"). */}}
{{- define "sluice.buildsEnvFrom" -}}
{{- if and .root.Values.builder.enabled (has .component (list "api" "builder")) }}
{{- with .root.Values.registry.existingSecret }}
- secretRef: { name: {{ . }} }
{{- end }}
{{- if eq .component "builder" }}{{ with .root.Values.buildkit.existingSecret }}
- secretRef: { name: {{ . }} }
{{- end }}{{ end }}
{{- end }}
{{- end -}}

{{/* Everything of a component's Deployment that is the same for all. Takes (dict "root" . "component" "api" "values" .Values.api "ports" text "env" text "kubernetes" bool). */}}
{{- define "sluice.deployment" -}}
{{- $root := .root -}}
{{- $accounts := and $root.Values.builder.enabled (has .component (list "api" "builder")) | ternary $root.Values.builder.accountsSecret "" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "sluice.fullname" $root }}-{{ .component }}
  labels:
    {{- include "sluice.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels:
      {{- include "sluice.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "sluice.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
      annotations:
        # Pods are replaced when a secret of the chart changes.
        checksum/secret: {{ include "sluice.secretsChecksum" $root }}
        prometheus.io/scrape: "true"
        prometheus.io/port: "8090"
    spec:
      serviceAccountName: {{ include "sluice.fullname" $root }}-{{ .component }}
      automountServiceAccountToken: {{ .kubernetes }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        {{- include "sluice.podSecurityContext" $root | nindent 8 }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "sluice.selector" . | nindent 14 }}
      containers:
        - name: {{ .component }}
          image: {{ include "sluice.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .component }}]
          securityContext:
            {{- include "sluice.containerSecurityContext" $root | nindent 12 }}
          ports:
            {{- with .ports }}
            {{- . | nindent 12 }}
            {{- end }}
            - { name: health, containerPort: 8090 }
          env:
            {{- include "sluice.env" $root | nindent 12 }}
            {{- .env | nindent 12 }}
            {{- with .values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with printf "%s%s" (include "sluice.envFrom" $root) (include "sluice.buildsEnvFrom" .) }}
          envFrom:
            {{- . | nindent 12 }}
          {{- end }}
          # Answers as soon as Node has read the program.
          startupProbe:
            httpGet: { path: /health/live, port: health }
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 60
          # A process whose event loop hangs is ended; one whose servers are away is not.
          livenessProbe:
            httpGet: { path: /health/live, port: health }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: { path: /health/ready, port: health }
            periodSeconds: 5
            timeoutSeconds: 4
            failureThreshold: 2
          lifecycle:
            # Time for the proxies of the cluster to hear that this pod leaves.
            preStop: { sleep: { seconds: 3 } }
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            - { name: tmp, mountPath: /tmp }
            {{- if $accounts }}
            # The folder, not the file: a file alone would never change.
            - { name: accounts, mountPath: /etc/sluice/accounts, readOnly: true }
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: { sizeLimit: 256Mi }
        {{- with $accounts }}
        - name: accounts
          secret: { secretName: {{ . }} }
        {{- end }}
{{- end -}}
