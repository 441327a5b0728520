"""The migration of a whole config."""
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS

from .accounting import DROPPED, REMOVED, UNMAPPED, UNREAD, Ledger, OldPart, Place, written_report
from .datasets import migrate_data, migrate_evaluator
from .method import adapts, migrate_method
from .network import is_mit, migrate_segmentor
from .old_code import name_method
from .reading import OldConfig, OldConfigError, drop_helper_variables
from .training import migrate_metrics, migrate_runtime, migrate_schedule
from .writing import Name, write_config

_SECTIONS = dict(
    randomness='Seed, processes, logs, checkpoints.',
    model='Network and method.',
    source_pipeline='Data.',
    val_pipeline='Labels are loaded after Resize: scores are computed at the resolution of the label files.',
    test_pipeline="The same with mmseg's own transforms, which init_model and MMSegInferencer look for by name.",
    train_dataloader='Loaders and scores.',
    optim_wrapper='Optimiser and length of the training.',
    param_scheduler="mmengine's schedules multiply and take end - begin - 1 steps: these give the old rates exactly.")
_STEP = re.compile(r'([^.\[\]]+)|\[(\d+)\]')


@dataclass(frozen=True)
class Migration:
    """What became of an old config.

    Args:
        settings: The new config, name -> value; a :class:`Name` stands for another setting.
        ledger: What became of each old value.
        method: Which method the new config means, and what was looked at to say so; a line each.
    """

    settings: dict
    ledger: Ledger
    method: list[str]

    @property
    def complete(self) -> bool:
        """Whether every value was mapped or dropped for a reason."""
        return not self.ledger.of_kind(UNMAPPED)

    def problem(self) -> str | None:
        """Builds the network and the objectives and returns what is wrong with them, None if nothing is."""
        model = self.config().model
        try:
            for part in (*model.objectives, model.segmentor):
                MODELS.build(part)
        except Exception as error:  # whatever a part finds wrong with its arguments
            return f'{type(error).__name__}: {" ".join(str(error).split())}'
        return None

    def report(self) -> str:
        """Returns which method is meant, and what became of every value, a line each."""
        return '\n'.join(['method', *(f'  {line}' for line in self.method), written_report(self.ledger)])

    def text(self, header: str) -> str:
        """Returns the new config as a Python file; ``header`` is the comment in its first line."""
        return write_config(self.settings, _SECTIONS, header)

    def config(self) -> Config:
        """Returns the new config."""
        return Config(_resolved(self.settings, self.settings))


def migrate(old: OldConfig, drop: tuple[str, ...] = (), code: Path | None = None,
            published_method: bool = False) -> Migration:
    """Migrates a config of the mmseg 0.x family.

    Args:
        old: The config, see :func:`read_old_config`.
        drop: Paths of values, such as ``'uda.my_switch'``, that the caller wants to do without.
        code: Folder ``mmseg/models/uda`` of the old program, which may hold more than the config says; None if it is
            not at hand.
        published_method: Whether the published method is wanted although that code has more.
    """
    ledger, values = Ledger(), old.values
    for path in drop:
        values = _without(values, path, ledger)
    root = OldPart(values, (), ledger)
    method = name_method(root, code, published_method)
    settings = _settings(root, old.used_names) if _is_readable(root) else {}
    ledger.refuse_objects(values)
    ledger.account_for_rest(values)
    return Migration(settings, ledger, method)


def droppable(old: OldConfig, drop: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """Returns the paths of the values that are not mapped: those that can be dropped, and those that cannot.

    Args:
        old: The config.
        drop: Paths that are dropped already.
    """
    def refused(paths: tuple[str, ...]) -> list[str]:
        entries = migrate(old, paths).ledger.of_kind(UNMAPPED)
        return [entry.path for entry in entries if not entry.note.startswith(UNREAD)]

    candidates = refused(drop)
    stay = refused((*drop, *candidates))
    return [path for path in candidates if path not in stay], stay


def migrated_config(config: Config, path: str | Path) -> Config:
    """Returns the new config of an old one that has been read already.

    Args:
        config: The old config.
        path: Its file, for the message.

    Raises:
        OldConfigError: If a value cannot be mapped.
    """
    migration = migrate(OldConfig.of(config))
    if not migration.complete:
        entries = migration.ledger.of_kind(UNMAPPED)
        first = f'{entries[0].path} ({entries[0].note})'
        raise OldConfigError(f'{path}: {len(entries)} values are not mapped, first {first}. Migrate it with '
                             'tools/misc/migrate_config.py, which names them all, and give the new config instead')
    return migration.config()


def _settings(root: OldPart, used_names: frozenset[str]) -> dict:
    data = migrate_data(root.part('data'), adapts(root))
    method = migrate_method(root)
    model = root.part('model')
    segmentor = migrate_segmentor(model, data.data_preprocessor)
    evaluator = migrate_evaluator(migrate_metrics(root), data.from_synthia)
    settings = dict(migrate_runtime(root), model=dict(type='ClassMixEMA', segmentor=segmentor, **method._asdict()),
                    **data.settings, val_evaluator=evaluator, test_evaluator=Name('val_evaluator'),
                    **migrate_schedule(root, is_mit(model)))
    drop_helper_variables(root, used_names)
    return settings


def _is_readable(root: OldPart) -> bool:
    """Checks the dicts without which there is nothing to start from."""
    needed = ['model', 'model.backbone', 'model.decode_head', 'data', 'data.train']
    if _at(root.values, 'data.train.type') == 'UDADataset':
        needed += ['data.train.source', 'data.train.target']
    if root.look('uda') is not None:
        needed.append('uda')
    missing = [path for path in needed if not isinstance(_at(root.values, path), dict)]
    for path in missing:
        root.ledger.add(tuple(path.split('.')), UNMAPPED, 'must be a dict; nothing was migrated without it')
        root.ledger.unread[()] = f'{path} is no dict'
    return not missing


def _at(values: Any, path: str) -> Any:
    for key in path.split('.'):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _without(old: Any, path: str, ledger: Ledger) -> Any:
    place = tuple(name or int(index) for name, index in _STEP.findall(path))
    try:
        reduced = _removed(old, place)
    except (KeyError, IndexError, TypeError):
        ledger.add(place, UNMAPPED, 'is to be dropped, but the config has no such value')
        return old
    ledger.add(place, DROPPED, 'as you asked')
    return reduced


def _removed(value: Any, place: Place) -> Any:
    key, rest = place[0], place[1:]
    if isinstance(value, dict):
        value[key]  # raises for what is not there
        return {k: _removed(v, rest) if k == key else v for k, v in value.items() if rest or k != key}
    if not isinstance(value[key], dict):
        raise TypeError('only dicts can be taken out of a list')
    entries = [v if i != key else _removed(v, rest) if rest else REMOVED for i, v in enumerate(value)]
    return type(value)(entries if any(isinstance(entry, dict) for entry in entries) else ())


def _resolved(value: Any, settings: dict) -> Any:
    if isinstance(value, Name):
        return _resolved(settings[value], settings)
    if isinstance(value, dict):
        return {key: _resolved(inner, settings) for key, inner in value.items()}
    return type(value)(_resolved(inner, settings) for inner in value) if isinstance(value, (list, tuple)) else value
