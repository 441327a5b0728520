"""What `tools/setup_env.sh` asks of an environment's Python, which a program stands in for that writes down its arguments."""
from pathlib import Path

import pytest
from shell_commands import ROOT, environment, run

PYTHON = '#!/usr/bin/env bash\necho "${PYTHONDONTWRITEBYTECODE-}|$*" >>"$(dirname "$0")/asked"\n'


@pytest.mark.parametrize('forbidden, imports', [
    ('', 'mmseg_cicld'),
    ('1', 'mmseg_cicld, mmseg.models, torch._dynamo'),
])
def test_what_a_training_imports_is_compiled_where_python_keeps_nothing(tmp_path: Path, forbidden: str, imports: str):
    python = tmp_path / 'bin/python'
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    run(['bash', ROOT / 'tools/setup_env.sh'], cwd=tmp_path,
        env=environment(VENV=str(tmp_path), PYTHONDONTWRITEBYTECODE=forbidden))
    asked = (tmp_path / 'bin/asked').read_text().splitlines()
    assert [line for line in asked if 'import mmseg' in line] == [f'|-W ignore -c import {imports}']
