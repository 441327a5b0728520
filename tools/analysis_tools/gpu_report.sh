#!/usr/bin/env bash
# Measures and compares, in about half an hour, all that no CPU can show; the page is OUT/gpu_report.md. A call ends after
# --minutes (9 by default); the same command again does what is missing. Relative folders count from the repository.
# Options: bash tools/analysis_tools/gpu_report.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" tools/analysis_tools/gpu_report.py "$@"
