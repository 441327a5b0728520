"""Your own data: a folder of images, a folder of label images, a list of classes."""
import json
import os
from collections.abc import Sequence
from typing import Any

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
CLASS_FILES = ('classes.txt', 'classes.json')


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """Images and labels of any size and class count; sub-folders are searched too.

    The label of ``IMG_PATH/a/b.jpg`` is ``SEG_MAP_PATH/a/b.png``: the same place and name, then ``seg_map_suffix``
    in place of the image's suffix, in small or capital letters. A label image holds one class id a pixel (0 for the
    first class), 255 = ignore.

    The classes come from one place: ``metainfo=dict(classes=[...])``, or ``metainfo=dict(classes='FILE')`` (on the
    disk), or ``classes.txt`` / ``classes.json`` in ``data_root``. A text file has one name a line, a JSON file a list of
    names or ``{"classes": [names], "palette": [[r, g, b], ...]}``. ``num_classes`` of the heads follows from it.

    Args:
        data_root: Folder that the entries of ``data_prefix`` are relative to.
        data_prefix: ``img_path`` and, for labelled data, ``seg_map_path``; images alone for an unlabelled target.
        metainfo: Classes and palette, see above. Needless for unlabelled data.
        img_suffix: Suffix or suffixes of image files.
        seg_map_suffix: What replaces the suffix of the image in the name of its label.
        ann_file: Text file on the disk that lists the images to use, a name a line, relative to ``img_path``, with or
            without suffix. Empty: all images.
        skip_unlabelled: Leaves out images without a label, of folders of which a part is labelled. Without it they
            are refused.
        **kwargs: See ``BaseSegDataset``.

    Raises:
        ValueError: If there are no images, labels are missing, two images would share a label, or the file of
            classes is missing or damaged.
    """

    def __init__(self, data_root: str = '', data_prefix: dict | None = None, metainfo: dict | None = None,
                 img_suffix: str | Sequence[str] = IMAGE_SUFFIXES, seg_map_suffix: str = '.png',
                 ann_file: str = '', skip_unlabelled: bool = False, **kwargs: Any) -> None:
        self.skip_unlabelled = skip_unlabelled  # the parent lists the files already
        super().__init__(
            data_root=data_root,
            data_prefix=dict(img_path='images') if data_prefix is None else data_prefix,
            metainfo=read_classes(metainfo, data_root, kwargs.get('backend_args')),
            img_suffix=img_suffix if isinstance(img_suffix, str) else tuple(img_suffix),
            seg_map_suffix=seg_map_suffix,
            ann_file=ann_file,
            **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists all images in order of their names, with their labels if ``seg_map_path`` is given."""
        images, labels = self.data_prefix.get('img_path') or '', self.data_prefix.get('seg_map_path')
        if not fileio.isdir(images, backend_args=self.backend_args):
            raise ValueError(f'{images!r} is no folder: set data_root and data_prefix.img_path')
        names = sorted(self._files(images, self.img_suffix))
        if not names:
            raise ValueError(f'no image {self.img_suffix} in {images!r}: set data_prefix.img_path or img_suffix')
        if self.ann_file:
            names = self._listed(names)
        paths = [self._join(images, name) for name in names]
        if labels is None:
            return [self._info(path, None) for path in paths]
        wanted = [_stem(name, self.img_suffix) + self.seg_map_suffix for name in names]
        present = self._labels(labels)
        if self.skip_unlabelled:
            kept = [place for place, label in enumerate(wanted) if label in present]
            names, paths, wanted = ([each[place] for place in kept] for each in (names, paths, wanted))
            if not kept:
                raise ValueError(f'no image in {images!r} has a label in {labels!r}: set data_prefix.seg_map_path or '
                                 f'seg_map_suffix (now {self.seg_map_suffix!r})')
        self._check_labels(labels, names, wanted, present)
        return [self._info(path, self._join(labels, present[label])) for path, label in zip(paths, wanted)]

    def _join(self, folder: str, name: str) -> str:
        return fileio.join_path(folder, name, backend_args=self.backend_args)

    def _files(self, folder: str, suffix: str | tuple[str, ...]) -> list[str]:
        # Suffixes are compared without case: cameras write .JPG.
        found = fileio.list_dir_or_file(folder, list_dir=False, recursive=True, backend_args=self.backend_args)
        lower = suffix.lower() if isinstance(suffix, str) else tuple(s.lower() for s in suffix)
        return [name for name in found if name.lower().endswith(lower)]

    def _listed(self, names: list[str]) -> list[str]:
        """Returns the images that ``ann_file`` lists, with or without their suffix, in order of their names."""
        if not os.path.isfile(self.ann_file):
            raise ValueError(f'ann_file={self.ann_file!r} does not exist: correct it (it is relative to data_root), or '
                             'remove it to use all images')
        with open(self.ann_file, encoding='utf-8-sig') as file:
            wanted = {line.strip() for line in file if line.strip()}
        chosen = [name for name in names if name in wanted or _stem(name, self.img_suffix) in wanted]
        known = {*chosen, *(_stem(name, self.img_suffix) for name in chosen)}
        missing = sorted(wanted - known)
        if missing or not chosen:
            raise ValueError(f'{self.ann_file} lists {len(missing)} images that are not there, such as {missing[:3]}: give '
                             'a name a line as it is below data_prefix.img_path, with or without its suffix')
        return chosen

    def _info(self, image: str, label: str | None) -> dict:
        info = dict(img_path=image, label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        return info if label is None else dict(info, seg_map_path=label)

    def _labels(self, folder: str) -> dict[str, str]:
        """Lists label files by what they are called with the suffix as it is given."""
        if not fileio.isdir(folder, backend_args=self.backend_args):
            raise ValueError(f'{folder!r} is no folder: set data_prefix.seg_map_path, or remove it if the images have '
                             'no labels')
        suffix = self.seg_map_suffix
        # Of two that differ in capital letters, the one with the suffix as given comes last and wins.
        found = sorted(self._files(folder, suffix), key=lambda name: name.endswith(suffix))
        return {name[:len(name) - len(suffix)] + suffix: name for name in found}

    def _check_labels(self, folder: str, names: list[str], wanted: list[str], present: dict[str, str]) -> None:
        missing = [label for label in wanted if label not in present]
        if missing:
            raise ValueError(f'{len(missing)} of {len(wanted)} images have no label in {folder!r}, for example '
                             f'{", ".join(missing[:3])}: put the labels there, set seg_map_suffix (now '
                             f'{self.seg_map_suffix!r}), or move images without a label elsewhere')
        shared = sorted({name for name, label in zip(names, wanted) if wanted.count(label) > 1}
                        if len(set(wanted)) < len(wanted) else ())
        if shared:
            raise ValueError(f'several images would use the same label: {", ".join(shared[:4])}. Give them different '
                             'names or set img_suffix')


def read_classes(metainfo: dict | None, data_root: str, backend_args: dict | None = None) -> dict:
    """Returns ``metainfo`` with the classes read from their file, see :class:`FolderDataset`."""
    metainfo = dict(metainfo or {})
    if metainfo.get('classes') is None:
        metainfo.pop('classes', None)
        places = [fileio.join_path(data_root or '', name, backend_args=backend_args) for name in CLASS_FILES]
        path = next((path for path in places if fileio.isfile(path, backend_args=backend_args)), None)
        return metainfo if path is None else metainfo | _read_class_file(path, backend_args)
    if isinstance(metainfo['classes'], str):
        path = metainfo.pop('classes')
        return metainfo | _read_class_file(path, None)
    _check_names(metainfo['classes'], 'metainfo.classes')
    return metainfo


def _read_class_file(path: str, backend_args: dict | None) -> dict:
    if not fileio.isfile(path, backend_args=backend_args):
        raise ValueError(f'metainfo.classes={path!r} does not exist: give a list of names, or a text file with one '
                         'name a line')
    text = fileio.get_text(path, encoding='utf-8-sig', backend_args=backend_args)
    if not path.endswith('.json'):
        content = {'classes': [line.strip() for line in text.splitlines() if line.strip()]}
    else:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f'{path} is no valid JSON: {error}') from error
        content = content if isinstance(content, dict) else {'classes': content}
    unknown = set(content) - {'classes', 'palette'}
    if unknown:
        raise ValueError(f'{path} has the keys {sorted(unknown)}, allowed are "classes" and "palette"')
    _check_names(content.get('classes'), path)
    return content


def _check_names(names: Sequence[str] | None, place: str) -> None:
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{place} must be a list of at least one class name, not {names!r}')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{place} names {twice} more than once: every class id needs its own name')
    if len(names) > 255:
        raise ValueError(f'{place} has {len(names)} classes: labels have 8 bits, 255 of them class ids at most')


def _stem(name: str, suffix: str | tuple[str, ...]) -> str:
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    longest = max((s for s in suffixes if name.lower().endswith(s.lower())), key=len)
    return name[:len(name) - len(longest)]
