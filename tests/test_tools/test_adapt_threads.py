"""tools/adapt.py says how long threads wait for each other before torch, which reads it once, is imported."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, runpy, sys

class WhenTorchComes:
    def find_spec(self, name, path=None, target=None):
        if name == 'torch':
            sys.exit(f"spins {os.environ.get('GOMP_SPINCOUNT')}")

sys.meta_path.insert(0, WhenTorchComes())
runpy.run_path('tools/adapt.py', run_name='__main__')
"""


@pytest.mark.parametrize('given, expected', [
    ({}, 3000), (dict(GOMP_SPINCOUNT='7'), 7), (dict(OMP_WAIT_POLICY='ACTIVE'), None)])
def test_the_spin_count_is_set_before_torch_is_imported_unless_the_user_says_something(given, expected):
    kept = {name: value for name, value in os.environ.items() if name not in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')}
    done = subprocess.run([sys.executable, '-c', PROGRAM], cwd=ROOT, capture_output=True, text=True,
                          env={**kept, **given, 'PYTHONPATH': str(ROOT)})
    assert done.stderr.strip() == f'spins {expected}'
