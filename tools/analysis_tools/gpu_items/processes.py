"""Starts an item in a process of its own and ends it when its time is over. Nothing here loads torch."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from .listing import Item
from .records import Setting, read_records, record_file, write_json

ROOT = Path(__file__).parents[3]
LAST_LINES = 25


def run_in_process(item: Item, out: Path, setting: Setting, seconds: float) -> dict | None:
    """Runs an item and returns its record; None if the time of the call was over before that of the item.

    The process ends with this one, however that ends: it reads from a pipe that nobody else holds.
    """
    record_file(out, item.name).unlink(missing_ok=True)
    log = out / 'logs' / f'{item.name}.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    request = json.dumps(dict(item=asdict(item), out=str(out.resolve()), setting=vars(setting)))
    began = time.monotonic()
    with log.open('w') as stream:
        process = subprocess.Popen([sys.executable, '-m', 'gpu_items.run_item', request], stdin=subprocess.PIPE,
                                   stdout=stream, stderr=subprocess.STDOUT, env=_environment(setting), cwd=ROOT,
                                   **(dict(process_group=0) if hasattr(os, 'killpg') else {}))
        try:
            process.wait(min(item.limit, seconds))
        except subprocess.TimeoutExpired:
            if seconds < item.limit:
                return None
        finally:
            _end(process)
    if item.name not in read_records(out):
        reason = (f'ended by signal {signal.Signals(-process.returncode).name}' if time.monotonic() - began < item.limit
                  else f'took longer than {item.limit} s') if process.returncode < 0 else f'ended with {process.returncode}'
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()[-LAST_LINES:]
        write_json(record_file(out, item.name), dict(
            item=item.name, setting=vars(setting), status='failed', reason=reason, lines=lines,
            seconds=time.monotonic() - began))
    return read_records(out)[item.name]


def _environment(setting: Setting) -> dict[str, str]:
    paths = [str(ROOT / 'tools' / 'analysis_tools'), str(ROOT), os.environ.get('PYTHONPATH', '')]
    hidden = {} if setting.cuda else dict(CUDA_VISIBLE_DEVICES='')
    return os.environ | dict(PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONUNBUFFERED='1') | hidden


def _end(process: subprocess.Popen) -> None:
    """Ends a process with all that it has started."""
    end_group(process.pid)
    process.wait()
    process.stdin.close()


def end_group(leader: int) -> None:
    """Ends a process that was started here, and all that it has started."""
    kill = getattr(os, 'killpg', None)
    if kill is None:  # Windows, which keeps a tree of processes in place of groups
        subprocess.run(['taskkill', '/F', '/T', '/PID', str(leader)], capture_output=True, check=False)
        return
    with contextlib.suppress(ProcessLookupError):
        kill(leader, getattr(signal, 'SIGKILL', signal.SIGTERM))
