"""Writes a translated dataset so that a killed program leaves whole files, and goes on where it stopped.

In the output lie the images and labels under the names of the source, and a folder ``translation`` with

- ``settings.json``: what was asked for; once an image is finished, nobody can go on who asks for something else,
- ``records/``: a file for each finished image, written after image and label; gone when all are finished,
- ``running.lock`` (and ``running.txt``, who it is): held by the processes of one launch, so that no two write at once,
- ``images.json``: the records of all images, in order; it is there if and only if all images are finished.
"""
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ..atomic_files import LEFTOVERS, replacing
from ..datasets.class_statistics import write_statistics
from ..datasets.file_writing import write_bytes, write_json
from ..datasets.folder_dataset import CLASS_FILES
from .errors import TranslationError
from .source_images import SourceFile, SourceImages

FOLDER = 'translation'
LOSSLESS = ('.png', '.bmp', '.tif', '.tiff')
_JPEG_QUALITY = 95


class DatasetWriter:
    """Writes the output of one translation.

    Args:
        root: Output folder.
        source: What is translated.
        labels: How labels that stay as they are get there: ``'symlink'``, ``'hardlink'`` or ``'copy'``.

    Raises:
        TranslationError: If the folder is that of the source, or holds files that no translation wrote.
    """

    def __init__(self, root: str | Path, source: SourceImages, labels: str) -> None:
        self.root, self.source, self.labels = Path(root), source, labels
        self.folder = self.root / FOLDER
        self._finished: dict[str, dict] = {}
        _refuse_overlap(self.root, Path(source.root))
        strangers = self.root.is_dir() and any(path.name != FOLDER for path in self.root.iterdir())
        if strangers and not self._settings.is_file():
            raise TranslationError(f'{self.root} holds files that no translation wrote: give another --output')

    @property
    def _settings(self) -> Path:
        return self.folder / 'settings.json'

    def open(self, identity: Mapping) -> None:
        """Makes the output folder, or takes up what is there; for one process, before all others go on.

        Args:
            identity: Plain JSON that tells this translation apart from others.

        Raises:
            TranslationError: If the folder holds another translation.
        """
        if self._settings.is_file() and self._has_finished_images():
            _refuse_other(self._settings, identity)
        with explained(self._settings):
            for path in self.root.rglob(LEFTOVERS):
                path.unlink()
            write_bytes(str(self._settings), (json.dumps(identity, indent=2) + '\n').encode())

    def _has_finished_images(self) -> bool:
        records = (path for path in (self.folder / 'records').rglob('*.json'))
        return (self.folder / 'images.json').is_file() or next(records, None) is not None

    def load_finished(self) -> None:
        """Reads what a finished translation recorded; for every process, before :meth:`is_finished`."""
        path = self.folder / 'images.json'
        if path.is_file():
            self._finished = {record['name']: record for record in json.loads(path.read_text(encoding='utf-8'))}

    def is_finished(self, file: SourceFile) -> bool:
        """Whether nothing is left to do for an image."""
        record = self._record(file)
        return record is not None and (record['dropped'] or all(
            (self.root / name).is_file() for name in (file.name, file.label_name)))

    def write(self, file: SourceFile, image_HW3: np.ndarray, stored_HW: np.ndarray | None, record: Mapping) -> None:
        """Writes one finished image.

        Args:
            file: Which one.
            image_HW3: uint8 RGB.
            stored_HW: Changed numbers of its label file (uint8); None if the label stays as it is.
            record: Plain JSON: ``classes`` (pixels of each class that are left), ``dropped`` and more. Of an image
                that is dropped, the record is all that is written.

        Raises:
            TranslationError: If a file cannot be written; it is then not there, and nothing else has changed.
        """
        with explained(self.root / file.name):
            if not record['dropped']:
                if stored_HW is None:
                    self._bring(Path(file.info['seg_map_path']), self.root / file.label_name)
                else:
                    _refuse_lossy(file.label_name)
                    write_bytes(str(self.root / file.label_name), _encoded(file.label_name, stored_HW))
                write_bytes(str(self.root / file.name), _encoded(file.name, image_HW3[..., ::-1]))
            write_json(str(self._record_path(file)), dict(record, name=file.name))

    def close(self) -> None:
        """Finishes the folder; for one process, after all have written their images.

        Writes what a dataset has beside images and labels: class statistics for rare class sampling, its list of files
        and of classes.

        Raises:
            TranslationError: If images are missing, because a process was stopped, or were all dropped.
        """
        missing = [file.name for file in self.source.files if not self.is_finished(file)]
        if missing:
            raise TranslationError(f'{len(missing)} of {len(self.source.files)} images are not translated, for example '
                                   f'{missing[0]}: a process was stopped, or writes to a disk that is not shared. Run '
                                   'the same command again (with all parts in one folder) for what is left')
        records = [self._record(file) for file in self.source.files]
        if all(record['dropped'] for record in records):
            raise TranslationError('the quality filter dropped every image: lower quality_filter.image_agreement, or '
                                   'look at pictures of a translation without it')
        with explained(self.folder):
            self._write_companions(records)
            write_bytes(str(self.folder / 'images.json'), _lines(records).encode())
            shutil.rmtree(self.folder / 'records', ignore_errors=True)
        self._refuse_other_files(records)

    def records(self) -> list[dict]:
        """Returns what was recorded of each image, in order of the source; after :meth:`close`."""
        return json.loads((self.folder / 'images.json').read_text(encoding='utf-8'))

    def _write_companions(self, records: list[dict]) -> None:
        kept = [(file, record) for file, record in zip(self.source.files, records) if not record['dropped']]
        write_statistics([dict(record['classes'], file=file.label_name) for file, record in kept], str(self.root))
        for path in (Path(self.source.root, name) for name in CLASS_FILES):
            if path.is_file():
                self._bring(path, self.root / path.name)
        listed = Path(getattr(self.source.dataset, 'ann_file', None) or '')
        if listed.is_file() and listed.resolve().is_relative_to(Path(self.source.root).resolve()):
            self._write_list(listed, {file.info['img_path'] for file, _ in kept})

    def _write_list(self, path: Path, kept: set[str]) -> None:
        dataset = self.source.dataset
        lines = [line for line in path.read_text(encoding='utf-8').splitlines() if os.path.join(
            dataset.data_prefix.get('img_path') or '', line.strip() + dataset.img_suffix) in kept]
        place = self.root / os.path.relpath(path, self.source.root)
        write_bytes(str(place), ''.join(f'{line}\n' for line in lines).encode())

    def _refuse_other_files(self, records: list[dict]) -> None:
        """Makes sure that the same dataset config finds in the output what was written."""
        dataset = self.source.dataset_at(str(self.root))
        found = {os.path.relpath(dataset.get_data_info(i)['img_path'], self.root) for i in range(len(dataset))}
        kept = {os.path.normpath(record['name']) for record in records if not record['dropped']}
        if found != kept:
            raise TranslationError(f'with data_root={str(self.root)!r} the source dataset finds {len(found)} images, '
                                   f'but {len(kept)} were written: for example {min(found ^ kept)} differs. Remove '
                                   'what does not belong there, or report this with the config of source')

    def _bring(self, path: Path, place: Path) -> None:
        """Links or copies a file, as ``labels`` says."""
        if place.is_file() and (self.labels != 'copy' and place.samefile(path)):
            return
        if self.labels == 'copy':
            write_bytes(str(place), path.read_bytes())
            return
        try:
            with replacing(place) as temporary:
                (os.symlink if self.labels == 'symlink' else os.link)(path.resolve(), temporary)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise TranslationError(f'{place} cannot be made a link to {path} ({error.strerror}): set '
                                   f"labels='{'symlink' if self.labels == 'hardlink' else 'copy'}'") from error

    def _record(self, file: SourceFile) -> dict | None:
        path = self._record_path(file)
        if path.is_file():
            return json.loads(path.read_text(encoding='utf-8'))
        return self._finished.get(file.name)

    def _record_path(self, file: SourceFile) -> Path:
        return self.folder / 'records' / f'{file.name}.json'


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns an error of the disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        reason = 'the disk is full' if error.errno == errno.ENOSPC else error.strerror
        raise TranslationError(f'{path} cannot be written: {reason}. What was finished before is whole and stays; make '
                               'room or allow writing, then run the same command again') from error


def _encoded(name: str, pixels: np.ndarray) -> bytes:
    """Encodes uint8 [H, W] or [H, W, 3] (BGR) by the suffix of a name."""
    suffix = os.path.splitext(name)[1].lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix in ('.jpg', '.jpeg') else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise TranslationError(f'{name}: images with the suffix {suffix!r} cannot be written')
    return data.tobytes()


def _refuse_lossy(name: str) -> None:
    if not name.lower().endswith(LOSSLESS):
        raise TranslationError(f'the quality filter changes the label {name}, which its format would not keep exactly: '
                               f'save the labels of source as PNG (allowed are {", ".join(LOSSLESS)})')


def _lines(records: list[dict]) -> str:
    return '[\n' + ',\n'.join(json.dumps(record, ensure_ascii=False, sort_keys=True) for record in records) + '\n]\n'


def _refuse_overlap(output: Path, source: Path) -> None:
    output, source = output.resolve(), source.resolve()
    if output == source or output.is_relative_to(source) or source.is_relative_to(output):
        raise TranslationError(f'--output {output} and source.data_root {source} lie in each other: give a folder '
                               'beside the source, so that no original is overwritten')


def _refuse_other(path: Path, identity: Mapping) -> None:
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise TranslationError(f'{path} is damaged ({error}): remove the output folder and start anew') from error
    other = '; '.join(_differences(found, identity))
    if other:
        raise TranslationError(f'{path.parent.parent} was translated with other settings ({other}). Go on with the '
                               'same settings, or give another --output')


def _differences(found: object, wanted: object, key: str = '') -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in {**found, **wanted}:
            yield from _differences(found.get(name), wanted.get(name), f'{key}.{name}' if key else name)
    elif found != wanted:
        yield f'{key}: there {found}, asked for {wanted}'
