#!/usr/bin/env bash
# Checks faults and style (ruff), the order of imports (isort) and types (mypy), by the rules in pyproject.toml.
# tools/run_tests.sh and pre-commit run it; it takes seconds.
#
#   bash tools/lint.sh [--fix]
#
#   --fix  mends what the tools can mend by themselves first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${VENV:-.venv}/bin
code=(mmseg_cicld tools tests setup.py)

[[ -x $bin/ruff ]] || { echo "lint: $bin has no ruff: run bash tools/setup_env.sh --tests" >&2 && exit 1; }
case ${1:-} in
    '') ;;
    --fix) "$bin/ruff" check --quiet --fix || true && "$bin/isort" --quiet "${code[@]}" ;;
    *) echo "lint: unknown option '$1'; known: --fix" >&2 && exit 1 ;;
esac
"$bin/ruff" check
"$bin/isort" --quiet --check-only --diff "${code[@]}"
"$bin/mypy"
