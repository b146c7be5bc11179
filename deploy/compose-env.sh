#!/usr/bin/env bash
# Passwords and keys for docker-compose.yml, made at random, into a file .env beside it that only you can read:
#   deploy/compose-env.sh
# Variables: SLUICE_DOCKER_SOCKET (/var/run/docker.sock)  the engine's socket
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
socket=${SLUICE_DOCKER_SOCKET:-/var/run/docker.sock}

if [ -e .env ]; then
  echo ".env is there already and stays: its keys open what this installation has stored." >&2
  exit 1
fi
hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Who may use the engine's socket. An engine without root belongs to a user, who is root in its containers.
user=10001:10001
group=0
if [ "$(uname)" = Linux ] && [ -S "$socket" ]; then
  if [ "$(stat -L -c %u "$socket")" = 0 ]; then group=$(stat -L -c %g "$socket"); else user=0:0; fi
fi

cat >.env.new <<END
SLUICE_PASSWORD=$(hex 12)
SLUICE_NATS_TOKEN=$(hex 16)
SLUICE_REDIS_PASSWORD=$(hex 16)
SLUICE_MINIO_USER=sluice
SLUICE_MINIO_PASSWORD=$(hex 16)
SLUICE_RUNNER_KEY=$(hex 32)
SLUICE_SECRETS_KEY=k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')
SLUICE_DOCKER_SOCKET=$socket
SLUICE_DOCKER_GROUP=$group
SLUICE_SCHEDULER_USER=$user
END
mv .env.new .env
echo "Made .env; the administrator is oscar, the password is SLUICE_PASSWORD in it." >&2
