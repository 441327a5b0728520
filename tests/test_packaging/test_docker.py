"""The steps of the Dockerfile, as far as they can be checked without an engine."""
import json
import re
import shlex
import subprocess

from shell_commands import ROOT

from mmseg_cicld.compat import SYSTEM_LIBRARIES

KNOWN = {'FROM', 'RUN', 'WORKDIR', 'COPY', 'ENV', 'CMD'}


def _steps() -> list[tuple[str, str]]:
    """Returns instruction and arguments of each step, with continued lines joined."""
    text = (ROOT / 'docker' / 'Dockerfile').read_text()
    text = '\n'.join(line for line in text.splitlines() if line and not line.startswith('#'))
    return [tuple(line.split(maxsplit=1)) for line in text.replace('\\\n', ' ').splitlines()]


def _arguments(instruction: str) -> list[str]:
    return [arguments for name, arguments in _steps() if name == instruction]


def test_steps_are_known_and_start_from_a_cuda_runtime():
    names = [name for name, _ in _steps()]
    assert set(names) <= KNOWN and names[0] == 'FROM'
    assert re.fullmatch(r'nvidia/cuda:[\d.]+-runtime-ubuntu24\.04', _arguments('FROM')[0])  # its python3 is 3.12


def test_copied_files_exist_and_environments_are_left_out():
    for arguments in _arguments('COPY'):
        *sources, _ = arguments.split()
        assert all((ROOT / source).exists() for source in sources)
    ignored = (ROOT / 'docker' / 'Dockerfile.dockerignore').read_text().split()
    assert {'.git', '.venv*', 'work_dirs', 'data'} <= set(ignored)


def test_commands_parse_and_call_scripts_of_the_repository():
    for command in _arguments('RUN'):
        command = re.sub(r'--mount=\S+', '', command)
        subprocess.run(['bash', '-n', '-c', command], check=True)
        for script in re.findall(r'\S+\.sh', command):
            assert (ROOT / script).is_file()
    subprocess.run(['bash', '-n', str(ROOT / 'tools' / 'setup_env.sh')], check=True)
    assert json.loads(_arguments('CMD')[0]) == ['bash']


def test_image_has_the_tested_set_and_the_libraries_of_the_system():
    commands = ' '.join(_arguments('RUN'))
    # The versions are in one place: the set-up of outside, which the tests have run to get here.
    assert 'bash tools/setup_env.sh' in commands and 'pip install' not in commands
    libraries = SYSTEM_LIBRARIES.partition('apt-get install ')[2].split()
    assert set(libraries) <= set(shlex.split(commands)) and 'python3-venv' in shlex.split(commands)


def test_environment_of_the_set_up_comes_first_in_path():
    workdir, = _arguments('WORKDIR')
    assert f'PATH={workdir}/.venv/bin:$PATH' in _arguments('ENV')
