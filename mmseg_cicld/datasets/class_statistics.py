"""How many pixels of each class the label files show: what rare class sampling draws by."""
import os
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.utils import track_progress_rich
from torch.utils.data import Dataset

from ..ignore_index import IGNORE_INDEX
from .domain import class_ids_as_trained
from .file_reading import read_label
from .file_writing import write_json
from .image_region import count_ids
from .loading import Loading
from .rare_class_sampling import STATS_FILE
from .wrapped_datasets import ignore_index_of, original


def count_pixels(label_HW: np.ndarray, ignore_index: int = IGNORE_INDEX) -> dict[str, int]:
    """Counts the pixels of each class id in a uint8 label without ignored ones; keys are strings as in JSON."""
    counts = count_ids(label_HW)
    counts[ignore_index] = 0
    return {str(class_id): int(counts[class_id]) for class_id in np.flatnonzero(counts)}


def label_files(dataset: Dataset) -> list[dict]:
    """Lists what :func:`count_file` takes of each label file of a dataset, once where it is repeated.

    Raises:
        ValueError: If the dataset has images without labels.
    """
    files: dict[str, dict] = {}
    ignore_index = ignore_index_of(dataset)
    for index in range(len(dataset)):
        part, place = original(dataset, index)
        info = part.get_data_info(place)
        if info.get('seg_map_path') is None:
            raise ValueError(f'{info["img_path"]} has no label: set data_prefix.seg_map_path of its dataset')
        files.setdefault(info['seg_map_path'], dict(info, storage=Loading.of(part).label_storage,
                                                    ignore_index=ignore_index))
    return list(files.values())


def count_file(info: dict) -> dict:
    """Counts one label file, at its own resolution.

    Args:
        info: ``seg_map_path`` and, if the labels are changed on loading, ``reduce_zero_label`` and ``label_map``;
            ``storage`` (``backend_args``) and ``ignore_index`` if they are not the usual ones.

    Returns:
        ``{"<class id>": pixels, ..., "file": path}``.
    """
    path = info['seg_map_path']
    label_HW = class_ids_as_trained(read_label(path, info.get('storage')), info)
    return dict(count_pixels(label_HW, info.get('ignore_index', IGNORE_INDEX)), file=path.replace(os.sep, '/'))


def count_files(infos: Sequence[dict], nproc: int) -> list[dict]:
    """Counts label files in ``nproc`` processes with a progress bar, see :func:`count_file`."""
    return run_parallel(count_file, infos, nproc, 'Counting classes')


def refuse_unknown_ids(entries: Sequence[dict], num_classes: int, ignore_index: int = IGNORE_INDEX) -> None:
    """Raises ValueError, naming files, if labels have ids that the dataset has no class for."""
    bad = [(entry['file'], [int(k) for k in entry if k != 'file' and int(k) >= num_classes]) for entry in entries]
    bad = [f'{file} has {ids[:5]}' for file, ids in bad if ids]
    if bad:
        raise ValueError(f'{len(bad)} labels have ids without a class, allowed are 0 to {num_classes - 1} and '
                         f'{ignore_index}: {"; ".join(bad[:3])}. Convert the labels, or list all classes in '
                         'metainfo.classes')


def write_statistics(entries: Sequence[dict], folder: str) -> None:
    """Writes the statistics of the label files in the three forms that DAFormer's tools write.

    Args:
        entries: Results of :func:`count_file`.
        folder: Where to write, usually the ``data_root`` of the dataset.
    """
    counts = {entry['file']: {k: v for k, v in entry.items() if k != 'file'} for entry in entries}
    by_class: dict[str, list] = {}
    for file, classes in counts.items():
        for class_id, pixels in classes.items():
            by_class.setdefault(class_id, []).append([file, pixels])
    write_json(os.path.join(folder, 'sample_class_stats_dict.json'), counts)
    write_json(os.path.join(folder, 'samples_with_class.json'), dict(sorted(by_class.items(), key=lambda x: int(x[0]))))
    # Training reads this one: written last, it is there only if all are.
    write_json(os.path.join(folder, STATS_FILE), list(entries))


def run_parallel(function: Callable, tasks: Sequence, nproc: int, description: str) -> list:
    """Applies a function to every task, in ``nproc`` processes, showing progress and remaining time.

    Args:
        function: Takes one task; must be importable by name.
        tasks: At least one task.
        nproc: Number of processes, 1 or more.
        description: Shown beside the progress bar.

    Returns:
        The results in the order of the tasks.
    """
    if nproc < 1:
        raise ValueError(f'--nproc {nproc}: give 1 or more')
    return track_progress_rich(function, [(task,) for task in tasks], nproc=min(nproc, len(tasks)), chunksize=4,
                               description=description)
