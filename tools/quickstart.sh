#!/usr/bin/env bash
# From a fresh machine to an adapted segmentor: installs into .venv, renders the street set, trains, adapts, reports.
# Running it again continues or reuses what is there. Options: bash tools/quickstart.sh --help
# Relative folders in the options count from the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup_env.sh
# Threads that wait for each other by spinning slow a training down twentyfold as soon as something else runs as well.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
exec python -m mmseg_cicld.quickstart "$@"
