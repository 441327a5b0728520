"""Reads config files of the mmseg 0.x family, Python or JSON, with their bases; nothing old is imported."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .accounting import OldPart

_KNOWN = ('norm_cfg', 'crop_size', 'img_norm_cfg', 'dataset_type', 'data_root', 'img_scale', 'num_classes')
_SECTIONS = ('model', 'data', 'uda', 'optimizer', 'lr_config')


class OldConfigError(RuntimeError):
    """A file cannot be read as a config of the mmseg 0.x family."""


def read_old_config(path: str | Path) -> dict:
    """Reads a config file and its bases into plain dicts, lists and tuples.

    Raises:
        OldConfigError: If the file, or one of its bases, cannot be read, or the file is no such config.
    """
    try:
        config = Config.fromfile(path, import_custom_modules=False, lazy_import=False)
    except Exception as error:  # a config is code: it can fail in any way
        raise OldConfigError(f'{path}: cannot read the config ({type(error).__name__}: {error})') from error
    old = plain_values(config)
    if not is_old_config(old):
        raise OldConfigError(f'{path}: is no config of the mmseg 0.x family, which has the keys model and data '
                             f'(samples_per_gpu, train, ...); it has: {", ".join(sorted(old))}')
    return old


def plain_values(config: Config) -> dict:
    """Returns a config as plain dicts, lists and tuples."""
    return _plain(config._cfg_dict)


def is_old_config(config: Mapping) -> bool:
    """Tells a config of the mmseg 0.x family from one of mmseg 1.x."""
    return 'model' in config and 'data' in config and 'train_dataloader' not in config


def drop_helper_variables(root: OldPart) -> None:
    """Drops top-level names that the old program never read.

    They are those of mmseg's own configs, lists and dicts whose content stands in another section too, and pipelines:
    datasets have theirs, whatever the file called it.
    """
    used = [inner for section in _SECTIONS for inner in _parts(root.look(section))]
    for key, value in root.values.items():
        if key in _KNOWN:
            root.drop(key, 'a helper variable: its value stands where it is used')
        elif key not in _SECTIONS and isinstance(value, (dict, list, tuple)) and value and value in used:
            root.drop(key, 'a helper variable: the same value stands in another section')
        elif key.endswith('pipeline') and _is_pipeline(value):
            root.drop(key, 'a helper variable: a pipeline that no dataset uses')


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        # A child's _delete_ stays if the base has no such key: there was nothing to delete.
        return {key: _plain(inner) for key, inner in value.items() if key != '_delete_'}
    return type(value)(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(part for inner in value.values() for part in _parts(inner))]
    if isinstance(value, (list, tuple)):
        return [value, *(part for inner in value for part in _parts(inner))]
    return []


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(step, dict) and 'type' in step for step in value)
