#!/usr/bin/env bash
# All tests in one command, from a bare machine. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./reproduce.sh --setup
stamp=.venv/requirements-dev.installed
if ! cat requirements.txt requirements-dev.txt | cmp -s - "$stamp"; then
    echo "installing requirements-dev.txt into .venv"
    .venv/bin/python -m pip install --disable-pip-version-check -r requirements-dev.txt
    cat requirements.txt requirements-dev.txt > "$stamp"
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/lint-imports
exec .venv/bin/python -m pytest "$@"
