#!/bin/sh
# Make the virtual environment $1 with the first of the Pythons $2 ... that fits.
set -eu
venv=$1
shift

fits() { # command, first minor version that does not fit
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, $2))" >/dev/null 2>&1
}

python=
for limit in 14 99; do # a newer Python than those we test only when there is no other
    for candidate in "$@"; do
        if fits "$candidate" $limit; then
            python=$candidate
            break 2
        fi
    done
done
uv=$(command -v uv 2>/dev/null || true)

if [ -z "$python" ] && { [ -z "$uv" ] || [ $# -eq 1 ]; }; then
    found=$("$1" --version 2>/dev/null || echo "not there")
    echo "Sightline needs Python 3.11, 3.12 or 3.13; $1 is $found." >&2
    echo "Cure: install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)," >&2
    echo "      or name it: make demo PYTHON=/path/to/python3.13; or install uv, which brings its own." >&2
    exit 1
fi

if [ -n "$uv" ]; then
    exec "$uv" venv --quiet --seed --python "${python:->=3.11,<3.14}" "$venv"
fi
if ! "$python" -m venv "$venv"; then
    rm -rf "$venv" # half an environment would pass for a whole one the next time
    echo "$python cannot make a virtual environment." >&2
    echo "Cure: Debian, Ubuntu: apt-get install python3-venv; or install uv." >&2
    exit 1
fi
