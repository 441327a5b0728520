"""A cache of decoded images at the training size: memory-mapped files, checked against the files they were made of.

A folder of a cache holds one dataset in chunks: ``000256.bin`` has the numbers of samples 256 onwards, ``000256.json`` says
what they were made of. The latter is written last, so a chunk is there whole or not at all.
"""
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from mmcv.transforms import Resize
from mmseg.datasets import BaseSegDataset

from ..atomic_files import write_synced
from .file_reading import DataFileError
from .sample_reading import IMAGE_LOADERS, LABEL_LOADERS, CropPlan
from .wrapped_datasets import is_local

CHUNK = 256  # samples
PROGRAM = 'python tools/dataset_converters/cache_dataset.py CONFIG --out'


class CachedSample(NamedTuple):
    """One sample of a cache.

    Args:
        image: uint8 [H, W] or [H, W, C] at the training size.
        label: Training ids, uint8 [H, W]; None without labels.
        file_shape: Height and width of the image file.
    """

    image: np.ndarray
    label: np.ndarray | None
    file_shape: tuple[int, int]


class ImageCache:
    """Reads one dataset out of a cache.

    Args:
        folder: Folder of the dataset in the cache.
        dataset: The dataset, whose files and steps the cache must have been made of.
        ignore_index: Of the dataset.

    Raises:
        ValueError: If the dataset cannot be cached, or the cache is missing, unfinished, stale or of something else.
    """

    def __init__(self, folder: str, dataset: BaseSegDataset, ignore_index: int) -> None:
        self.folder, self.remedy = folder, f'Make it again by the same command: {PROGRAM} {Path(folder).parents[1]}'
        plan, files = cacheable(dataset, ignore_index), files_of(dataset)
        self.samples: list[dict] = []
        for first, wanted in chunks(files):
            problem, chunk = look_at_chunk(folder, first, wanted, settings_of(plan, dataset))
            if problem:
                raise ValueError(f'the cache in {folder} {problem}. {self.remedy}')
            self.samples += chunk

    def __getitem__(self, index: int) -> CachedSample:
        """Maps a sample; its pages are read when they are looked at."""
        sample = self.samples[index]
        path = chunk_paths(self.folder, index - index % CHUNK)[0]
        try:
            numbers = np.asarray(np.memmap(path, np.uint8, 'r'))
            image, start = _array(numbers, sample['offset'], sample['image'])
            label = None if sample['label'] is None else _array(numbers, start, sample['label'])[0]
        except (OSError, ValueError) as error:
            raise DataFileError(f'{path} of the cache cannot be mapped ({error}). {self.remedy}') from error
        return CachedSample(image, label, tuple(sample['file_shape']))


def cacheable(dataset: BaseSegDataset, ignore_index: int) -> CropPlan:
    """Returns the plan by which a dataset is read.

    Raises:
        ValueError: If there is none, or the files are not on the disk.
    """
    plan = CropPlan.of(dataset.pipeline.transforms, ignore_index) if isinstance(dataset, BaseSegDataset) else None
    if plan is None:
        steps = [type(step).__name__ for step in getattr(getattr(dataset, 'pipeline', None), 'transforms', ())]
        raise ValueError(f'{type(dataset).__name__} with the steps {steps} cannot be cached: a pipeline must load its image '
                         '(and label), then Resize or RandomResize (bilinear) if at all, then RandomCrop')
    folder = (dataset.data_prefix or {}).get('img_path') or ''
    if any(not is_local(folder, getattr(step, 'backend_args', None)) for step in (dataset, *plan.load)):
        raise ValueError(f'{folder} is not on the disk, where a cache tells changed files by size and time: copy the data '
                         'there and remove backend_args')
    return plan


def settings_of(plan: CropPlan, dataset: BaseSegDataset) -> str:
    """Describes what the numbers of a cache depend on beside the files."""
    steps = [step for step in plan.load if type(step).__name__ in IMAGE_LOADERS + LABEL_LOADERS]
    steps += [plan.resize] if isinstance(plan.resize, Resize) else []
    described = [(type(step).__name__, sorted(vars(step).items())) for step in steps]
    return repr((described, dataset.reduce_zero_label, dataset.label_map, cv2.__version__.partition('.')[0]))


def files_of(dataset: BaseSegDataset) -> list[dict]:
    """Lists the files of each sample: ``image`` and, where the pipeline loads it, ``label``; each path, size and time."""
    labelled = any(type(step).__name__ in LABEL_LOADERS for step in dataset.pipeline.transforms)
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [dict(image=_stamp(info['img_path'], dataset.data_root),
                 label=_stamp(info['seg_map_path'], dataset.data_root) if labelled else None) for info in infos]


def _stamp(path: str, root: str | None) -> list:
    try:
        state = os.stat(path)
    except OSError as error:
        raise DataFileError(f'{path} cannot be read: {error.strerror}') from error
    return [os.path.relpath(path, root or '.').replace(os.sep, '/'), state.st_size, state.st_mtime_ns]


def chunks(files: list[dict]) -> Iterator[tuple[int, list[dict]]]:
    """Divides :func:`files_of` into chunks: the index of the first sample, and the files."""
    for first in range(0, len(files), CHUNK):
        yield first, files[first:first + CHUNK]


def chunk_paths(folder: str | Path, first: int) -> tuple[Path, Path]:
    """Returns the files of the chunk that begins with a sample: numbers, description."""
    return Path(folder, f'{first:06}.bin'), Path(folder, f'{first:06}.json')


def look_at_chunk(folder: str | Path, first: int, files: Sequence[dict], settings: str) -> tuple[str, list[dict]]:
    """Compares a chunk with what it should be made of.

    Args:
        folder: Of the dataset in the cache.
        first: Index of its first sample.
        files: Part of :func:`files_of`.
        settings: :func:`settings_of`.

    Returns:
        What is wrong, empty if nothing is, and the samples.
    """
    numbers, description = chunk_paths(folder, first)
    try:
        chunk = json.loads(description.read_text(encoding='utf-8'))
        size = numbers.stat().st_size
    except FileNotFoundError:
        return f'has no chunk {description.stem} (samples from {first} on)', []
    except ValueError as error:
        return f'has a damaged {description.name} ({error})', []
    if chunk['settings'] != settings:
        return 'was made by other steps (loading, Resize, classes) than the pipeline has', []
    for sample, wanted in zip(chunk['samples'], files):
        for kind in ('image', 'label'):
            if sample['files'][kind] != wanted[kind]:
                return f'is stale: {(wanted[kind] or sample["files"][kind])[0]} is not the file it was made of', []
    if len(chunk['samples']) != len(files) or size != chunk['bytes']:
        return f'has a chunk {description.stem} of {len(chunk["samples"])} samples and {size} bytes, not {len(files)} and ' \
               f'{chunk["bytes"]}', []
    return '', chunk['samples']


def write_chunk(task: tuple[str, int, list[dict], list[dict]], plan: CropPlan, settings: str) -> int:
    """Makes one chunk, unless it is there.

    Args:
        task: Folder, index of the first sample, :func:`files_of` and ``get_data_info`` of the samples.
        plan: How they are read.
        settings: :func:`settings_of`.

    Returns:
        How many samples were written.
    """
    folder, first, files, infos = task
    if not look_at_chunk(folder, first, files, settings)[0]:
        return 0
    numbers, description = chunk_paths(folder, first)
    description.unlink(missing_ok=True)  # it describes other numbers
    samples: list[dict] = []
    write_synced(numbers, lambda stream: samples.extend(
        _write_sample(stream, plan.whole(info), stamps) for info, stamps in zip(infos, files)))
    content = dict(settings=settings, bytes=numbers.stat().st_size, samples=samples)
    write_synced(description, lambda stream: stream.write(json.dumps(content, ensure_ascii=False).encode()))
    return len(samples)


def _write_sample(stream: BinaryIO, results: dict, files: dict) -> dict:
    image, label, offset = results['img'], results.get('gt_seg_map'), stream.tell()
    for array in (image, label):
        if array is not None:
            stream.write(np.ascontiguousarray(array).data)
    return dict(files=files, offset=offset, image=image.shape, label=None if label is None else label.shape,
                file_shape=results['ori_shape'])


def _array(numbers: np.ndarray, start: int, shape: Sequence[int]) -> tuple[np.ndarray, int]:
    end = start + int(np.prod(shape))
    return numbers[start:end].reshape(shape), end
