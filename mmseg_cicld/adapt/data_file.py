"""Reads a description of the data from a file: YAML as ultralytics has it, or Python as mmseg has it."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from .data_description import DataDescription, DataDescriptionError, Images, with_classes
from .pairing import Suffixes

_YAML_KEYS = ('path', 'train', 'train_labels', 'target', 'target_labels', 'val', 'val_labels', 'names', 'palette')
_YAML_IGNORED = ('nc', 'test', 'download')  # of ultralytics
_PYTHON_KEYS = ('data_root', 'metainfo', 'source', 'target', 'val')
_DATASET_KEYS = ('type', 'data_root', 'data_prefix', 'img_suffix', 'seg_map_suffix')
_DATASET_TYPES = ('FolderDataset', 'BaseSegDataset')


def read_data_file(path: Path) -> DataDescription:
    """Reads a data description.

    A YAML file has ``path`` (relative to the file, by default its folder), ``train`` (labelled source images),
    ``target``, ``val`` (labelled target images, optional) and ``names`` (a list, or a mapping from ids), and may have
    ``palette``. Labels lie in the folder of the same path with ``labels`` in place of the last ``images``, or where
    ``train_labels`` and ``val_labels`` say. ``target_labels`` scores target images.

    A Python file, a config like all of mmseg and so a program, has ``metainfo`` and the datasets ``source``,
    ``target`` and, optional, ``val``, each with ``data_prefix``; ``data_root`` stands in each or beside them.

    Args:
        path: ``.yaml``, ``.yml`` or ``.py``.

    Raises:
        DataDescriptionError: If the file cannot be read, has keys that nothing reads or lacks some, or the data are
            not where it says.
    """
    if not path.is_file():
        raise DataDescriptionError(f'--data {path} does not exist: give a .yaml or .py file')
    if path.suffix.lower() in ('.yaml', '.yml'):
        return _of_yaml(path)
    if path.suffix.lower() == '.py':
        return _of_python(path)
    raise DataDescriptionError(f'--data {path} is neither .yaml nor .py: write it as one of them')


def _of_yaml(path: Path) -> DataDescription:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataDescriptionError(f'{path} is no valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(content, Mapping):
        raise DataDescriptionError(f'{path} holds no keys: it needs train, target and names')
    _check_keys(path, content, _YAML_KEYS + _YAML_IGNORED, ('train', 'target', 'names'))
    root = path.parent / str(content.get('path') or '.')

    def folder(key: str) -> Path | None:
        value = content.get(key)
        if value is not None and not isinstance(value, str):
            raise DataDescriptionError(f'{path}: {key} is {value!r}, give one folder')
        return None if value is None else root / value

    source, target = Images.found(folder('train'), folder('train_labels') or _labels_beside(folder('train')),
                                  'source'), folder('target')
    validation = None
    if folder('val') is not None:
        validation = Images.found(folder('val'), folder('val_labels') or _labels_beside(folder('val')), 'validation')
    elif folder('target_labels') is not None:
        validation = Images.found(target, folder('target_labels'), 'target', some_labels=True)
    metainfo = dict(classes=_names(path, content['names'])) | (
        {} if content.get('palette') is None else dict(palette=content['palette']))
    return with_classes(source, Images.found(target, None, 'target'), validation, metainfo)


def _labels_beside(images: Path) -> Path:
    """Puts ``labels`` in place of the last ``images`` of a path, as ultralytics does."""
    parts = list(images.parts)
    places = [place for place, part in enumerate(parts) if part == 'images']
    if places:
        parts[places[-1]] = 'labels'
        return Path(*parts)
    return images.parent / 'labels'


def _names(path: Path, names: object) -> list[str]:
    if isinstance(names, Mapping):
        if sorted(names) != list(range(len(names))):
            raise DataDescriptionError(f'{path}: names has the ids {sorted(names, key=str)}, they have to be 0 to '
                                       f'{len(names) - 1}')
        return [str(names[class_id]) for class_id in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataDescriptionError(f'{path}: names is {names!r}, give a list of names, or names by id')
    return [str(name) for name in names]


def _of_python(path: Path) -> DataDescription:
    try:
        content = Config.fromfile(path)
    except Exception as error:  # a config is a program, in which anything can go wrong
        raise DataDescriptionError(f'{path} cannot be read: {type(error).__name__}: {error}') from error
    _check_keys(path, content, None, ('metainfo', 'source', 'target'))
    parts = {}
    for role in ('source', 'target', 'val'):
        if content.get(role) is not None:
            parts[role] = _of_dataset(path, role, content[role], content.get('data_root') or '')
    if parts['source'].labels is None:
        raise DataDescriptionError(f'{path}: source.data_prefix has no seg_map_path, the folder of its labels')
    if parts.get('val') is not None and parts['val'].labels is None:
        raise DataDescriptionError(f'{path}: val.data_prefix has no seg_map_path: give it, or remove val')
    target = parts['target']
    validation = parts.get('val') or (target if target.labels is not None else None)
    metainfo = {key: value for key, value in content.metainfo.items() if key in ('classes', 'palette')}
    return with_classes(parts['source'], Images.found(target.images, None, 'target', suffixes=target.suffixes),
                        validation, metainfo)


def _of_dataset(path: Path, role: str, dataset: Any, root: str) -> Images:
    if not isinstance(dataset, Mapping):
        raise DataDescriptionError(f'{path}: {role} is {dataset!r}, give dict(data_prefix=dict(img_path=...))')
    _check_keys(path, dataset, _DATASET_KEYS, ('data_prefix',), f'{role}.')
    if dataset.get('type', _DATASET_TYPES[0]) not in _DATASET_TYPES:
        raise DataDescriptionError(f'{path}: {role}.type is {dataset["type"]!r}, which reads files in its own way; allowed '
                                   f'are {", ".join(_DATASET_TYPES)}')
    folder, prefix = Path(dataset.get('data_root') or root), dataset['data_prefix']
    if not isinstance(prefix, Mapping) or not prefix.get('img_path'):
        raise DataDescriptionError(f'{path}: {role}.data_prefix needs img_path, the folder of the images')
    labels = prefix.get('seg_map_path')
    suffixes = None
    if dataset.get('img_suffix') or dataset.get('seg_map_suffix'):
        suffixes = Suffixes(dataset.get('img_suffix'), dataset.get('seg_map_suffix') or '.png')
    return Images.found(folder / prefix['img_path'], None if labels is None else folder / labels, role,
                        some_labels=role == 'target' and labels is not None, suffixes=suffixes)


def _check_keys(path: Path, content: Mapping, known: tuple[str, ...] | None, needed: tuple[str, ...],
                where: str = '') -> None:
    missing = [where + key for key in needed if content.get(key) is None]
    unknown = [where + key for key in content if known is not None and key not in known]
    if missing or unknown:
        problem = f'lacks {", ".join(missing)}' if missing else f'has {", ".join(unknown)}, which nothing reads'
        raise DataDescriptionError(f'{path} {problem}; it needs {", ".join(where + key for key in needed)} and may have '
                                   f'{", ".join(where + key for key in known or _PYTHON_KEYS if key not in needed)}')
