"""Looks through the wrappers of mmengine and mmseg (repeated, joined, balanced datasets) at what lies in them."""
from collections.abc import Callable, Iterator

from mmengine import fileio
from mmengine.fileio import LocalBackend
from torch.utils.data import Dataset

from ..ignore_index import IGNORE_INDEX


def original(dataset: Dataset, index: int) -> tuple[Dataset, int]:
    """Returns the dataset that holds a sample of a dataset, and the sample's index there.

    Goes through ``ConcatDataset``, ``RepeatDataset`` and ``ClassBalancedDataset``, whose samples are those of what they
    hold. Others, which make samples of their own, are returned as they are.
    """
    while hasattr(dataset, '_get_ori_dataset_idx'):
        place = dataset._get_ori_dataset_idx(index)
        dataset, index = ((dataset.datasets[place[0]], place[1]) if isinstance(place, tuple)
                          else (dataset.dataset, place))
    return dataset, int(index)


def parts(dataset: Dataset) -> list[Dataset]:
    """Lists the datasets in a dataset that read files, in order; a plain dataset is its own only part."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    return [dataset] if inner == [None] else [part for one in inner for part in parts(one)]


def leaf_configs(config: dict) -> Iterator[dict]:
    """Goes through the configs of the datasets that read files in the config of one dataset."""
    inner = config.get('datasets') or config.get('dataset')
    if inner is None:
        yield config
    else:
        for one in inner if isinstance(inner, (list, tuple)) else [inner]:
            yield from leaf_configs(one)


def map_leaves(config: dict, change: Callable[[dict], object]) -> object:
    """Returns the config of a dataset in which ``change`` replaced the config of every dataset that reads files."""
    for key in ('datasets', 'dataset'):
        if config.get(key) is not None:
            inner = config[key]
            changed = ([map_leaves(one, change) for one in inner] if isinstance(inner, (list, tuple))
                       else map_leaves(inner, change))
            return dict(config, **{key: changed})
    return change(config)


def ignore_index_of(dataset: Dataset) -> int:
    """Returns the ``ignore_index`` of a dataset.

    Raises:
        ValueError: If its parts have different ones.
    """
    found = sorted({getattr(part, 'ignore_index', IGNORE_INDEX) for part in parts(dataset)})
    if len(found) > 1:
        raise ValueError(f'the datasets that are joined have different ignore_index: {found}. Give all the same')
    return found[0]


def storage_of(dataset: Dataset) -> dict | None:
    """Returns the ``backend_args`` of a dataset, of a wrapper those of its first part."""
    return getattr(parts(dataset)[0], 'backend_args', None)


def is_local(path: str, backend_args: dict | None) -> bool:
    """Whether a path of a dataset lies on the disk, where programs that know no ``backend_args`` find it."""
    return type(fileio.get_file_backend(path, backend_args=backend_args)) is LocalBackend
