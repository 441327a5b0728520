"""Reads config files of the mmseg 0.x family, Python or JSON, with their bases; nothing old is imported."""
import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from .accounting import OldPart, written

_KNOWN = ('norm_cfg', 'crop_size', 'img_norm_cfg', 'dataset_type', 'data_root', 'img_scale', 'num_classes')
_BASE_VARIABLE = re.compile(r'_base_\.(\w+)')


class OldConfigError(RuntimeError):
    """A file cannot be read as a config of the mmseg 0.x family."""


@dataclass(frozen=True)
class OldConfig:
    """An old config.

    Args:
        values: Its values as plain dicts, lists and tuples.
        used_names: Names that its Python files use in other values; empty for JSON, which has no variables.
    """

    values: dict
    used_names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config) -> 'OldConfig':
        """Takes a config that mmengine has read."""
        return cls(_plain(config._cfg_dict), _used_names(config.text))


def read_old_config(path: str | Path) -> OldConfig:
    """Reads a config file and its bases.

    Raises:
        OldConfigError: If the file, or one of its bases, cannot be read, or the file is no such config.
    """
    try:
        config = Config.fromfile(path, import_custom_modules=False, lazy_import=False)
    except Exception as error:  # a config is code: it can fail in any way
        reason = ' '.join(str(error).split())
        raise OldConfigError(f'{path}: cannot read the config ({type(error).__name__}: {reason})') from error
    if not is_old_config(config):
        raise OldConfigError(f'{path}: is no config of the mmseg 0.x family, which has the keys model and data '
                             f'(samples_per_gpu, train, ...); it has: {", ".join(sorted(config.keys()))}')
    return OldConfig.of(config)


def is_old_config(config: Mapping) -> bool:
    """Tells a config of the mmseg 0.x family from one of mmseg 1.x."""
    return 'model' in config and 'data' in config and 'train_dataloader' not in config


def drop_helper_variables(root: OldPart, used_names: frozenset[str]) -> None:
    """Drops top-level names that the old program never read.

    They are those of mmseg's own configs, names that the files themselves put into other values, and pipelines:
    datasets have theirs, whatever the file called it. That an equal value stands elsewhere proves nothing.

    Args:
        root: The whole old config.
        used_names: See :class:`OldConfig`.
    """
    for key, value in root.values.items():
        if (key, ) in root.ledger.opened:
            continue  # a section that was read: its values are accounted for one by one
        if key in _KNOWN:
            root.drop(key, 'a helper variable: its value stands where it is used')
        elif key in used_names:
            root.drop(key, 'a helper variable: the config itself puts its value where it is used')
        elif key.endswith('pipeline') and _is_pipeline(value):
            root.drop(key, 'a helper variable: a pipeline that no dataset uses')
        else:
            _name_equal_value(root, key)


def _name_equal_value(root: OldPart, key: str) -> None:
    value = root.values[key]
    if (key, ) in root.ledger.entries or not isinstance(value, (dict, list, tuple)) or not value:
        return
    equal = [place for place, inner in _inner_values(root.values) if place[0] != key and inner == value]
    if equal:
        root.refuse(key, f'unknown key: {written(equal[0])} has the same value, but nothing shows that it is from here')


def _used_names(text: str) -> frozenset[str]:
    """Returns the names that the Python files of a config load; ``text`` holds each after a line with its path."""
    names = set(_BASE_VARIABLE.findall(text))
    files = {Path(line) for line in text.splitlines() if line.endswith('.py') and Path(line).is_file()}
    for file in files:
        tree = ast.parse(re.sub(r'{{.*?}}', 'None', file.read_text(encoding='utf-8')))
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return frozenset(names)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        # A child's _delete_ stays if the base has no such key: there was nothing to delete.
        return {key: _plain(inner) for key, inner in value.items() if key != '_delete_'}
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return type(value)(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _inner_values(value: Any, place: tuple = ()) -> list[tuple[tuple, Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = [((*place, key), inner) for key, inner in entries]
    return found + [deeper for inner_place, inner in found for deeper in _inner_values(inner, inner_place)]


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(step, dict) and 'type' in step for step in value)
