#!/bin/sh
# Writes the lock files anew from pyproject.toml; run it after a change of the dependencies. Needs uv.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --quiet --custom-compile-command infra/lock.sh "$@"
}
compile --extra venue --extra build --extra dev --output-file requirements.lock
compile --extra venue --extra build --constraint requirements.lock --output-file infra/docker/venue.lock
compile --extra cuda --constraint requirements.lock --output-file infra/cuda.lock
