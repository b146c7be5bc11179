#!/usr/bin/env bash
# Sluice on Kubernetes for a try: on the cluster that kubectl speaks to, else on one that kind makes.
#   deploy/quickstart.sh          installs, prints address and password, and forwards a port until Ctrl-C
#   deploy/quickstart.sh down     removes all of it
# Variables: SLUICE_IMAGE, SLUICE_SUPERVISOR_IMAGE  images that the cluster can pull; with kind they are built here instead
#            SLUICE_NAMESPACE (sluice)  SLUICE_PORT (8080)  SLUICE_VALUES (a file with more values for the chart)
set -euo pipefail
cd "$(dirname "$0")/.."
namespace=${SLUICE_NAMESPACE:-sluice}
port=${SLUICE_PORT:-8080}
cluster=sluice-quickstart
release=sluice
image=${SLUICE_IMAGE:-sluice/sluice:0.1.0}
supervisor=${SLUICE_SUPERVISOR_IMAGE:-sluice/supervisor:0.1.0}
# Marks a namespace that was made here, so that another one is never removed.
mark=sluice.dev/made-by=quickstart

say() { printf '%s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is needed: $2"; exit 1; }; }
need kubectl https://kubernetes.io/docs/tasks/tools/
need helm https://helm.sh/docs/intro/install/

has_kind_cluster() { command -v kind >/dev/null && kind get clusters 2>/dev/null | grep -qx "$cluster"; }

down() {
  if has_kind_cluster; then
    say "Removing the cluster $cluster of kind"
    kind delete cluster --name "$cluster"
    exit
  fi
  say "Removing Sluice from namespace $namespace"
  helm uninstall "$release" --namespace "$namespace" --ignore-not-found --wait >&2
  kubectl delete namespace --selector "$mark" --field-selector "metadata.name=$namespace" >&2
  if kubectl get namespace "$namespace" >/dev/null 2>&1; then say "Namespace $namespace was there before, and stays"; fi
}

make_cluster() {
  need kind "no cluster answers to kubectl, and without kind none can be made: https://kind.sigs.k8s.io"
  need docker "kind runs a cluster in it: https://docs.docker.com/engine/install/"
  say "No cluster answers to kubectl: kind makes one"
  kind create cluster --name "$cluster" --wait 120s
  docker build -q -t "$image" -f deploy/docker/sluice.Dockerfile . >&2
  docker build -q -t "$supervisor" -f deploy/docker/supervisor.Dockerfile . >&2
  kind load docker-image --name "$cluster" "$image" "$supervisor"
}

install() {
  say "Installing into namespace $namespace of $(kubectl config current-context); this takes a minute or two"
  if ! kubectl get namespace "$namespace" >/dev/null 2>&1; then
    kubectl create namespace "$namespace" >&2
    kubectl label namespace "$namespace" "$mark" pod-security.kubernetes.io/enforce=restricted >&2
  fi
  helm upgrade --install "$release" deploy/helm/sluice --namespace "$namespace" \
    --set "image.repository=${image%:*}" --set "image.tag=${image##*:}" \
    --set "supervisorImage.repository=${supervisor%:*}" --set "supervisorImage.tag=${supervisor##*:}" \
    --set "jobs.namespace=$namespace-runs" ${SLUICE_VALUES:+--values "$SLUICE_VALUES"} \
    --wait --timeout 10m >/dev/null && return
  say "The installation did not become ready. Its pods:"
  kubectl -n "$namespace" get pods >&2
  say "deploy/quickstart.sh down removes what is there."
  exit 1
}

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

case "${1:-up}" in
  down) down; exit ;;
  up) ;;
  *) say "Usage: deploy/quickstart.sh [up|down]"; exit 2 ;;
esac

if port_is_taken; then
  say "Something listens on 127.0.0.1:$port already: give another port in SLUICE_PORT."
  exit 1
fi
if has_kind_cluster; then
  kubectl config use-context "kind-$cluster" >/dev/null
elif ! kubectl version --request-timeout=5s >/dev/null 2>&1; then
  make_cluster
elif [ -z "${SLUICE_IMAGE:-}" ] || [ -z "${SLUICE_SUPERVISOR_IMAGE:-}" ]; then
  say "The cluster $(kubectl config current-context) needs images that it can pull: build both as docs/deploy.md tells, and name them in SLUICE_IMAGE and SLUICE_SUPERVISOR_IMAGE."
  exit 1
fi

install
password=$(kubectl -n "$namespace" get secret "$release" -o jsonpath='{.data.OSCAR_PASSWORD}' | base64 -d)
cat <<END

Sluice answers at  http://127.0.0.1:$port
user               oscar
password           $password

  export SLUICE_URL=http://127.0.0.1:$port SLUICE_USERNAME=oscar SLUICE_PASSWORD=$password
  npx sluice doctor

Ctrl-C ends this port; deploy/quickstart.sh down removes everything.
END
forward=
trap 'kill $forward 2>/dev/null || true; exit 0' INT TERM
# A forwarded port ends with the pod that it leads to.
while true; do
  kubectl -n "$namespace" port-forward "service/$release-api" "$port:8080" &
  forward=$!
  wait "$forward" || true
  sleep 1
done
