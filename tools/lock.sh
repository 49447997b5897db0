#!/bin/sh
# Write the locks: one resolution of everything, and three parts of it, so that all pin the same versions.
# They hold no address, so that they install from any mirror. $@ goes to uv, for instance --upgrade.
set -eu
uv=$(command -v uv 2>/dev/null || true)
[ -n "$uv" ] || uv=${VENV:-.venv}/bin/uv
if [ ! -x "$uv" ]; then
    echo "make lock needs uv, which is not on the PATH." >&2
    echo "Cure: ${VENV:-.venv}/bin/python -m pip install uv" >&2
    exit 1
fi

compile() {
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --no-annotate "$@"
}

compile pyproject.toml --group dev -o requirements-dev.lock "$@"
compile pyproject.toml --group test -c requirements-dev.lock -o requirements-test.lock
compile pyproject.toml -c requirements-dev.lock -o requirements.txt
compile --group build -c requirements-dev.lock -o requirements-build.lock
grep -c '==' requirements.txt requirements-build.lock requirements-test.lock requirements-dev.lock
