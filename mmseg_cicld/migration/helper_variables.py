"""Top-level names of old config files that only held values for other keys: ``norm_cfg``, ``crop_size``, ..."""
from typing import Any

from .old_part import OldPart

_KNOWN = ('norm_cfg', 'crop_size', 'img_norm_cfg', 'dataset_type', 'data_root', 'img_scale', 'num_classes')
_SECTIONS = ('model', 'data', 'uda', 'optimizer', 'lr_config')


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


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(part for inner in value.values() for part in _parts(inner))]
    if isinstance(value, (list, tuple)):
        return [value, *(part for inner in value for part in _parts(inner))]
    return []


def _is_pipeline(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(step, dict) and 'type' in step for step in value)
