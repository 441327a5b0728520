"""How many pixels of each class the label files show: what rare class sampling draws by."""
import os
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.utils import track_progress_rich

from .domain import class_ids_as_trained
from .file_reading import read_label
from .file_writing import write_json
from .rare_class_sampling import STATS_FILE

IGNORE = 255


def count_pixels(label_HW: np.ndarray) -> dict[str, int]:
    """Counts the pixels of each class id in a uint8 label; 255 (ignore) is left out, keys are strings as in JSON."""
    counts = np.bincount(label_HW.reshape(-1), minlength=256)
    counts[IGNORE] = 0
    return {str(class_id): int(counts[class_id]) for class_id in np.flatnonzero(counts)}


def count_file(info: dict) -> dict:
    """Counts one label file, at its own resolution.

    Args:
        info: ``seg_map_path`` and, if the labels are changed on loading, ``reduce_zero_label`` and ``label_map``.

    Returns:
        ``{"<class id>": pixels, ..., "file": path}``.
    """
    path = info['seg_map_path']
    return dict(count_pixels(class_ids_as_trained(read_label(path), info)), file=path.replace(os.sep, '/'))


def count_files(infos: Sequence[dict], nproc: int) -> list[dict]:
    """Counts label files in ``nproc`` processes with a progress bar, see :func:`count_file`."""
    return run_parallel(count_file, infos, nproc, 'Counting classes')


def refuse_unknown_ids(entries: Sequence[dict], num_classes: int) -> None:
    """Raises ValueError, naming files, if labels have ids that the dataset has no class for."""
    bad = [(entry['file'], [int(k) for k in entry if k != 'file' and int(k) >= num_classes]) for entry in entries]
    bad = [f'{file} has {ids[:5]}' for file, ids in bad if ids]
    if bad:
        raise ValueError(f'{len(bad)} labels have ids without a class, allowed are 0 to {num_classes - 1} and '
                         f'{IGNORE}: {"; ".join(bad[:3])}. Convert the labels, or list all classes in metainfo.classes')


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
