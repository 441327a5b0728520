"""Runs one item in this process and records how it ended: ``python -m gpu_items.run_item REQUEST`` (JSON)."""
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from .listing import Item
from .processes import LAST_LINES, ROOT, end_group
from .records import Setting, record_file, write_json


def recorded(item: Item, out: Path, setting: Setting) -> dict:
    """Runs an item, writes its record and returns it.

    The status is ``ok``, ``skipped`` (a package is missing), ``memory`` (that of the card is too small) or ``failed``.
    """
    folder, began = out / 'scratch' / item.name, time.monotonic()
    record = dict(item=item.name, setting=vars(setting), status='ok')
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir(parents=True)
    try:
        module, _, function = item.function.partition(':')
        record['figures'] = getattr(importlib.import_module(module), function)(setting, folder, **item.arguments)
    except Exception as error:
        traceback.print_exc()
        record |= _ending(error)
    shutil.rmtree(folder, ignore_errors=True)
    record |= dict(seconds=round(time.monotonic() - began, 1), environment=environment(setting))
    write_json(record_file(out, item.name), record)
    return record


def _ending(error: Exception) -> dict:
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition('.')[0] not in ('gpu_items', 'mmseg_cicld'):
        return dict(status='skipped', reason=f'the package {error.name} is missing')
    if type(error).__name__ == 'OutOfMemoryError':
        return dict(status='memory', reason='the memory of the card is too small')
    lines = ''.join(traceback.format_exception(error)).splitlines()[-LAST_LINES:]
    return dict(status='failed', reason=lines[-1][:300], lines=lines)


def environment(setting: Setting) -> dict[str, str | None]:
    """Returns what figures depend on; versions of torch only where the item has loaded it."""
    found = dict(python=platform.python_version(), commit=_said_by('git', '-C', str(ROOT), 'rev-parse', 'HEAD'))
    torch = sys.modules.get('torch')
    if torch is None:
        return found
    found |= dict(torch=torch.__version__, cuda=torch.version.cuda, device=platform.processor() or 'cpu')
    if setting.cuda and torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        found |= dict(device=f'{torch.cuda.get_device_name()}, {memory:.0f} GB', driver=_said_by(
            'nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader'))
    return found


def _said_by(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def end_with_parent() -> None:
    """Ends this process and all that it has started when the one that has started it is gone."""
    def watch() -> None:
        sys.stdin.buffer.read()
        end_group(os.getpid())

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Runs the item of the request."""
    end_with_parent()
    request = json.loads(sys.argv[1])
    recorded(Item(**request['item']), Path(request['out']), Setting(**request['setting']))


if __name__ == '__main__':
    main()
