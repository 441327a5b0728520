"""What the tests of migrated configs share: parts of old configs, and how migrated ones are read and compared."""
import inspect
import io
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import old_configs as old
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from mmseg.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS

from mmseg_cicld.migration import migrate, read_old_config

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


def run_tool(*args: object) -> subprocess.CompletedProcess:
    """Runs the program within this process, which has imported everything already; any traceback is raised."""
    command, code = [str(ROOT / 'tools/misc/migrate_config.py'), *map(str, args)], 0
    out, errors = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, 'argv', command), redirect_stdout(out), redirect_stderr(errors):
        try:
            runpy.run_path(command[0], run_name='__main__')
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            print(error.code if isinstance(error.code, str) else '', file=sys.stderr)
    return subprocess.CompletedProcess(command, code, out.getvalue(), errors.getvalue())


def migrated(path: Path, drop: tuple[str, ...] = ()) -> Config:
    """Returns the new config as its written file gives it."""
    migration = migrate(read_old_config(path), drop)
    assert migration.complete, migration.report()
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
