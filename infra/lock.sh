#!/bin/sh
# Writes the lock files anew from both pyproject.toml; run it after a change of the dependencies. Needs uv.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-package hourbook-agent --no-annotate --quiet --custom-compile-command infra/lock.sh "$@"
}
agent=packaging/hourbook-agent/pyproject.toml
compile pyproject.toml --extra venue --extra build --extra dev --output-file requirements.lock
compile pyproject.toml --extra venue --extra build --constraint requirements.lock --output-file infra/docker/venue.lock
compile $agent --extra cuda --constraint requirements.lock --output-file infra/cuda.lock
compile $agent --constraint requirements.lock --output-file infra/agent/agent.lock
