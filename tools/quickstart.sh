#!/usr/bin/env bash
# From a fresh machine to an adapted segmentor: installs into .venv, renders the street set, trains, adapts, reports.
# Running it again continues or reuses what is there. Options: bash tools/quickstart.sh --help
# Relative folders in the options count from the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh
# How long threads wait for each other before they sleep, see docs/speed.md: between twice and twenty times as slow.
[[ -n ${OMP_WAIT_POLICY:-} ]] || export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-3000}
exec python -m mmseg_cicld.quickstart "$@"
