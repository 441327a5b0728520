"""What the tests of migrated configs share: parts of old configs, and how migrated ones are read and compared."""
import inspect
import os
import subprocess
import sys
from pathlib import Path

import old_configs as old
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from mmseg.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS

from mmseg_cicld.migration import migrate, read_old_config, written_report

ROOT = Path(__file__).parents[2]
REGISTRIES = (MODELS, DATASETS, TRANSFORMS, METRICS, LOOPS, HOOKS, DATA_SAMPLERS, OPTIM_WRAPPERS, PARAM_SCHEDULERS)
CNN = dict(model='deeplabv2red', rates=old.HEAD_RATE)
SGD = dict(model='deeplabv2red', schedule='sgd', rates='', lr=0.0025)
HRDA = old.HRDA.format(head='DAFormerHead')
TOP_ROWS = old.TOP_ROWS.format('')
RARE, RARE_HR, RARE_MARGINS = old.RARE.format(0.5, ''), old.RARE.format(2.0, ''), old.RARE.format(2.0, old.MARGINS)


def masked(mode: str, block: int) -> str:
    return f'uda = dict({old.MASK.format(mode, block)})\n'


def masked_with_rows(mode: str, block: int) -> str:
    return old.TOP_ROWS.format(f', {old.MASK.format(mode, block)}')


def run_tool(*args, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/misc/migrate_config.py'), *map(str, args)]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd)


def migrated(path: Path, drop: tuple[str, ...] = ()) -> Config:
    """Returns the new config as its written file gives it."""
    migration = migrate(read_old_config(path), drop)
    assert migration.complete, written_report(migration.ledger)
    new = path.parent / f'{path.stem}_new.py'
    new.write_text(migration.text('new'))
    config = Config.fromfile(new)
    assert canonical(config) == canonical(migration.config())
    return config


def unmapped(path: Path, drop: tuple[str, ...] = ()) -> dict[str, str]:
    return {entry.path: entry.note for entry in migrate(read_old_config(path), drop).ledger.of_kind('not mapped')}


def canonical(value: object) -> object:
    """Tuples for lists, and every part with the defaults of its class."""
    if isinstance(value, (Config, dict)):
        value = {key: canonical(inner) for key, inner in value.items()}
        name = value.get('type')
        kind = next((found for registry in REGISTRIES if name and (found := registry.get(name))), None)
        parameters = inspect.signature(kind).parameters.values() if kind else ()
        defaults = {p.name: canonical(p.default) for p in parameters if p.default is not p.empty}
        return defaults | value
    return tuple(map(canonical, value)) if isinstance(value, (list, tuple)) else value
