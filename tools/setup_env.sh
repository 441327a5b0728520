#!/usr/bin/env bash
# Makes or reuses a virtual environment with the tested versions of everything and this package, linked to the source.
# tools/quickstart.sh and tools/run_tests.sh start with it. A second run finds nothing to do and takes no time.
#
#   bash tools/setup_env.sh [--stack openmmlab|onedl] [--tests]
#   source tools/setup_env.sh      (in a script: the same without options, then `python` is the environment's)
#
#   --stack  host packages: OpenMMLab's (default; environment .venv) or the maintained fork's (.venv-onedl)
#   --tests  also what the test suite needs
#
#   PYTHON=python3.12  the interpreter to make it with; default: the first of python3.11, python3.12, python3 that works
#   VENV=folder        another place for the environment
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'setup_env: %s\n' "$*" >&2
    exit 1
}

fits() { # Whether a command is a Python that the package supports.
    "$1" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON does not run or is not Python 3.11 or 3.12"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "found no Python 3.11 or 3.12 (tried python3.11, python3.12, python3)." \
        "Install one, or name it: PYTHON=/path/to/python3.11"
}

make_venv() {
    local chosen
    chosen=$(find_python)
    echo "setup_env: making $venv with $("$chosen" --version)"
    "$chosen" -m venv --clear "$venv" ||
        fail "'$chosen -m venv $venv' failed, see above. On Debian and Ubuntu: apt-get install python3-venv"
}

install() { # install WHAT PIP_ARGUMENTS...
    echo "setup_env: installing $1"
    # Python compiles what is imported when it is; of all files, most of which are never imported, it would take a minute.
    "$python" -m pip --disable-pip-version-check install --no-input --no-compile --constraint requirements/tested.txt \
        "${@:2}" ||
        fail "pip could not install $1, see above. What is installed stays: run the same command again to continue."
}

# The import shows what pip does not: libraries of the system, mixed stacks. Images of containers often forbid Python to
# keep what it compiles; then each program would compile all that it imports anew, half of the time that it takes to start.
check() {
    local message imports=mmseg_cicld
    [[ -z ${PYTHONDONTWRITEBYTECODE:-} ]] || imports+=', mmseg.models, torch._dynamo' # what a training imports too
    message=$(PYTHONDONTWRITEBYTECODE='' "$python" -W ignore -c "import $imports" 2>&1) ||
        fail "$venv does not work: ${message##*$'\n'}"
}

fingerprint() { # All that an installation depends on: a changed file or a moved folder installs again.
    {
        (cd -P mmseg_cicld && pwd)
        "$python" --version
        cat setup.py pyproject.toml requirements/{runtime,fast,"$stack",tested}.txt "$@"
    } | sha256sum | cut -d ' ' -f 1
}

wait_for_others() { # Two set-ups at a time would write to one environment; the lock is on this script itself.
    command -v flock >/dev/null || return 0
    exec {lock}<tools/setup_env.sh
    flock --nonblock "$lock" || { echo "setup_env: waiting for another set-up" && flock "$lock"; }
}

done_already() { # done_already STAGE FINGERPRINT
    [[ -f $venv/mmseg_cicld.$1 && $(<"$venv/mmseg_cicld.$1") == "$2" ]]
}

set_up() {
    local stack=openmmlab tests=no venv=${VENV:-} python base suite lock='' started=$SECONDS
    while (($#)); do
        case $1 in
            --stack) stack=${2:-} && shift ;;
            --tests) tests=yes ;;
            *) fail "unknown option '$1'; known: --stack openmmlab|onedl, --tests" ;;
        esac
        shift
    done
    case $stack in
        openmmlab) venv=${venv:-.venv} ;;
        onedl) venv=${venv:-.venv-onedl} ;;
        *) fail "unknown stack '$stack'; known: openmmlab, onedl" ;;
    esac
    python=$venv/bin/python

    wait_for_others
    fits "$python" || make_venv
    base=$(fingerprint)
    if ! done_already base "$base"; then
        install "PyTorch" "$(grep '^torch==' requirements/tested.txt)"
        install "the tested packages ($stack stack)" -r requirements/runtime.txt \
            -r requirements/fast.txt -r "requirements/$stack.txt"
        install "mmseg_cicld from $PWD" --no-deps --no-build-isolation --editable .
        check
        echo "$base" >"$venv/mmseg_cicld.base"
        echo "setup_env: $venv is ready after $((SECONDS - started)) s"
    fi
    if [[ $tests == yes ]]; then
        suite=$(fingerprint requirements/{foundation,tests,mim}.txt)
        if ! done_already tests "$suite"; then
            install "what the tests need" -r requirements/foundation.txt -r requirements/tests.txt
            install "mim" --no-deps -r requirements/mim.txt
            echo "$suite" >"$venv/mmseg_cicld.tests"
        fi
    fi
    [[ -z $lock ]] || exec {lock}<&- # A script that sources this one would keep the lock to its end.
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set_up "$@"
else
    set_up # The options are those of the script that sources this one.
    case ${VENV:-.venv} in
        /*) PATH=${VENV}/bin:$PATH ;;
        *) PATH=$PWD/${VENV:-.venv}/bin:$PATH ;;
    esac
    export PATH
fi
