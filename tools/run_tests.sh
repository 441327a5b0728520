#!/usr/bin/env bash
# Sets up the tested environment, checks style and types, and runs the whole test suite, a process for each core.
# Options go to pytest; with options, style and types are left out, and no browser is installed:
#
#   bash tools/run_tests.sh [tests/test_uda -k teacher -x ...]
#
#   TEST_PROCESSES=4  the number of processes; 0 runs all in one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

browser() { # Reports are tested in a real one. Without it, and without the right to install it, these tests are skipped.
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        ! command -v "$name" >/dev/null || return 0
    done
    [[ $EUID == 0 ]] && command -v apt-get >/dev/null || return 0
    echo "run_tests: installing chromium"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium; } \
        >/dev/null 2>&1 || echo "run_tests: chromium could not be installed: tests in a browser are skipped" >&2
}

# Tests write tens of thousands of small files, for which some disks take as long as all else: they go into memory where there
# is room and programs may be started. Folders of tests that failed stay until the next run.
files_in_memory() {
    local old folder=/dev/shm/tests.$$ needed=$((10 * 1024 * 1024)) # KiB
    [[ -w /dev/shm ]] && (($(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1 || echo 0) > needed)) &&
        (($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) > needed)) || return 1
    for old in /dev/shm/tests.*; do
        kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old" 2>/dev/null || true
    done
    mkdir -m 700 "$folder" && printf '#!/bin/sh\n' >"$folder/program" && chmod +x "$folder/program" || return 1
    "$folder/program" 2>/dev/null || { rm -rf "$folder" && return 1; }
}

bash tools/setup_env.sh --tests
if (($# == 0)); then
    bash tools/lint.sh
    browser
fi
# The suite starts hundreds of programs: none compiles again what another has compiled.
export PYTHONDONTWRITEBYTECODE=
processes=${TEST_PROCESSES:-$(nproc)}
# Each process computes with one thread: threads of several processes on the same cores only wait for each other.
export OMP_NUM_THREADS=1
if [[ -z ${TMPDIR:-} ]] && files_in_memory; then
    export TMPDIR=/dev/shm/tests.$$
fi
# A file stays in one process, since its tests share what they have prepared; tests/conftest.py puts the longest first.
# A test that hangs fails, by a signal: the other method of pytest-timeout ends the process, and leaves the programs that
# the test has started running.
exec .venv/bin/python -m pytest --numprocesses "$processes" --dist loadfile --no-loadscope-reorder \
    --timeout 300 --timeout-method signal "$@"
