"""The number of classes is said once, by the dataset; heads follow it, and ignore the pixels that it ignores."""
from collections.abc import Iterator

from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .ignored_pixels import check_ignore_index

HEADS = ('decode_head', 'auxiliary_head')
# It tells boundaries from the rest, whatever the classes of the dataset.
BOUNDARY_HEAD, BOUNDARY_CLASSES = 'STDCHead', 2
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_num_classes(cfg: Config) -> int:
    """Fills in ``num_classes`` of every head that leaves it out, and refuses one that contradicts the dataset.

    Also refuses parts with another ``ignore_index`` than the dataset has, see :func:`check_ignore_index`.

    To be called before the model is built. So a config for other classes only changes the dataset, as long as its
    heads do not say ``num_classes`` themselves.

    Args:
        cfg: The whole config; ``model`` may be a segmentor or a wrapper with ``segmentor``. Changed in place.

    Returns:
        The number of classes; 0 where training has images alone.

    Raises:
        ValueError: If a head or the evaluation data contradicts the classes of the training data, a part of the config
            the ``ignore_index`` of its data, or a dataset has no type.
    """
    loaders = [name for name in LOADERS if isinstance(cfg.get(name), dict)]
    for name in loaders:
        if 'type' not in cfg[name].get('dataset', {}):
            raise ValueError(f"{name}.dataset has no type: give one, such as type='FolderDataset', or remove {name}")
    if loaders and cfg[loaders[0]]['dataset']['type'] == 'UnlabelledDataset':
        return 0
    if not loaders:
        raise ValueError('the config has no train_dataloader, val_dataloader or test_dataloader: the number of '
                         'classes is taken from their dataset')
    classes = {name: dataset_classes(cfg[name]['dataset']) for name in loaders}
    first = loaders[0]
    for name in loaders[1:]:
        if classes[name] != classes[first]:
            raise ValueError(f'{first} has the classes {classes[first]}, {name} has {classes[name]}: give both '
                             'datasets the same metainfo.classes in the same order')
    count = len(classes[first])
    if not count:
        raise ValueError(f'the dataset of {first} has no classes: set its metainfo=dict(classes=[...]), or put a '
                         'classes.txt into the data_root of a FolderDataset')
    _set_heads(cfg, count, first)
    check_ignore_index(cfg, list(_heads(cfg['model'])), count)
    return count


def dataset_classes(config: dict) -> tuple[str, ...]:
    """Returns the class names of a dataset config without looking at its files; of wrappers those of the first part."""
    for key in ('source', 'dataset', 'datasets'):
        if key in config:
            inner = config[key]
            return dataset_classes(inner[0] if isinstance(inner, (list, tuple)) else inner)
    dataset_class = DATASETS.get(config['type'])
    if dataset_class is None:
        raise ValueError(f'the dataset type {config["type"]!r} is not registered: import its module by custom_imports')
    extra = dict(pipeline=[], lazy_init=True) if issubclass(dataset_class, BaseSegDataset) else {}
    dataset = DATASETS.build(dict(config, **extra))
    return tuple(getattr(dataset, 'metainfo', {}).get('classes') or ())


def _set_heads(cfg: Config, count: int, loader: str) -> None:
    wrong = []
    for path, head in _counting_heads(cfg['model']):
        expected = BOUNDARY_CLASSES if head.get('type') == BOUNDARY_HEAD else count
        if head.get('num_classes') is None:
            head['num_classes'] = expected
        elif head['num_classes'] != expected:
            wrong.append((f'{path}.num_classes', head['num_classes'], expected))
    if wrong:
        given = ', '.join(f'{path}={number}' for path, number, _ in wrong)
        remedy = ' '.join(f'{path}={expected}' for path, _, expected in wrong)
        raise ValueError(f'the dataset of {loader} has {count} classes, but the config says {given}. Remove '
                         f'num_classes from the heads (it is filled in from the dataset), or run with --cfg-options '
                         f'{remedy}')


def _counting_heads(model: dict) -> Iterator[tuple[str, dict]]:
    """Gives the heads that count classes; K-Net's says them in its parts."""
    for path, head in _heads(model):
        if 'kernel_generate_head' not in head:
            yield path, head
            continue
        yield f'{path}.kernel_generate_head', head['kernel_generate_head']
        yield from ((f'{path}.kernel_update_head.{i}', part) for i, part in enumerate(head['kernel_update_head']))


def _heads(model: dict) -> Iterator[tuple[str, dict]]:
    path = 'model'
    while 'segmentor' in model:
        model, path = model['segmentor'], f'{path}.segmentor'
    for name in HEADS:
        head = model.get(name)
        if isinstance(head, (list, tuple)):
            yield from ((f'{path}.{name}.{i}', part) for i, part in enumerate(head))
        elif head is not None:
            yield f'{path}.{name}', head
