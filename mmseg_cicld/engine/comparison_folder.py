"""The folder of one training of a comparison: who works in it, with which settings, and what came out."""
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .checkpoint_reading import CheckpointError
from .checkpoint_writing import write_atomically
from .folder_lock import locked_folder

RESULT, SETTINGS, LOCK = 'result.json', 'settings.json', 'comparing.lock'


class ComparisonError(ValueError):
    """What is wrong with a comparison file or with the folder of a training, and what to do about it."""


def folder_of(work_dir: Path, name: str, seed: int) -> Path:
    """Returns the folder of one training, by the name of its row."""
    return work_dir / name.replace(' ', '_').replace('/', '_') / f'seed_{seed}'


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the folder of one training while the block runs.

    The training that is started in it holds the folder too, by a lock of its own. So a training that outlives the
    program that started it is not joined by a second one.

    Raises:
        ComparisonError: If another launch, or a training that a killed one has left, works there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_folder(folder, lock=LOCK))
            with locked_folder(folder):
                pass
        except CheckpointError as error:
            raise ComparisonError(f'{error}. It is another launch, or a training that a killed one has left') from error
        yield


def check_settings(folder: Path, settings: Mapping) -> None:
    """Refuses the folder of a training that was run, or begun, with other settings.

    Args:
        folder: May be missing.
        settings: What :attr:`Comparison.settings` has for the row.

    Raises:
        ComparisonError: If the settings are others; the message names keys in which they differ.
    """
    file = folder / SETTINGS
    if not is_begun(folder) and not (folder / RESULT).is_file():
        return
    found = json.loads(file.read_text()) if file.is_file() else {}
    if found != settings:
        keys = list(_differing_keys(found, settings))
        raise ComparisonError(f'{folder} was trained with other settings ({", ".join(keys[:3])}'
                              f'{", ..." if len(keys) > 3 else ""}): restore them, remove this folder to train it '
                              'anew, or give another --work-dir')


def write_settings(folder: Path, settings: Mapping) -> None:
    """Writes what the training in a folder is, for :func:`check_settings`."""
    write_atomically(folder / SETTINGS, lambda stream: stream.write(json.dumps(settings, indent=1).encode()))


def is_begun(folder: Path) -> bool:
    """Whether a training has left a checkpoint, from which it goes on."""
    return any(folder.glob('iter_*.pth'))


def _differing_keys(found: object, wanted: object, key: str = '') -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in {**found, **wanted}:
            yield from _differing_keys(found.get(name), wanted.get(name), f'{key}.{name}' if key else name)
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for index, (one, other) in enumerate(zip(found, wanted)):
            yield from _differing_keys(one, other, f'{key}.{index}')
    elif found != wanted:
        yield key


def final_metric(folder: Path, metric: str, iterations: int) -> float | None:
    """Returns what the logs of a training have as a metric after so many iterations, None if it was not evaluated."""
    # A killed process may have left half a line.
    lines = [(log.parent.parent.name, line) for log in folder.glob('*/vis_data/scalars.json')
             for line in log.read_text().splitlines(keepends=True) if line.endswith('\n')]
    values = [(attempt, record[metric]) for attempt, record in ((attempt, json.loads(line)) for attempt, line in lines)
              if metric in record and record['step'] == iterations]
    return max(values)[1] if values else None


def evaluated_metric(folder: Path, metric: str) -> float | None:
    """Returns what the last evaluation of ``tools/test.py`` in a folder has as a metric, None if it has none."""
    files = sorted(log for log in folder.glob('*/*.json') if log.stem == log.parent.name)
    return json.loads(files[-1].read_text()).get(metric) if files else None


def write_result(folder: Path, value: float, seconds: float | None) -> None:
    """Marks a training as finished, with its result and its wall time, which is None if it was stopped meanwhile."""
    content = json.dumps(dict(value=value, seconds=None if seconds is None else round(seconds))).encode()
    write_atomically(folder / RESULT, lambda stream: stream.write(content))


def read_result(folder: Path) -> dict[str, float | None] | None:
    """Returns what :func:`write_result` wrote, None if the training is not finished."""
    file = folder / RESULT
    return json.loads(file.read_text()) if file.is_file() else None
