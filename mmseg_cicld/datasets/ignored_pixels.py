"""One number for pixels without a class: dataset, transforms, padding, heads, losses and metric have to agree on it."""
import inspect
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, METRICS, MODELS

from ..ignore_index import IGNORE_INDEX
from .wrapped_datasets import leaf_configs

EVALUATORS = dict(val_dataloader='val_evaluator', test_dataloader='test_evaluator')
LOSS_KEYS = ('ignore_index', 'ignore_label')
# Transforms that compare or fill labels with a number of their own, and their key for it.
TRANSFORM_KEYS = dict(RandomCrop='ignore_index', GenerateEdge='ignore_index', RandomRotate='seg_pad_val',
                      RandomMosaic='seg_pad_val')
PAD = 'Pad'


def check_ignore_index(cfg: Config, heads: Sequence[tuple[str, dict]], num_classes: int) -> None:
    """Refuses a config whose parts ignore other pixels than its datasets; transforms take the number of their dataset.

    Args:
        cfg: The whole config; pipelines are changed in place.
        heads: Path and config of each head of its model.
        num_classes: Number of classes.

    Raises:
        ValueError: If heads, losses, padding or metric contradict the data that they get.
    """
    for loader in ('train_dataloader', *EVALUATORS):
        if not isinstance(cfg.get(loader), dict):
            continue
        config = cfg[loader]['dataset']
        found = {ignore_index_of_config(leaf) for leaf in leaf_configs(config.get('source') or config)}
        if len(found) > 1:
            raise ValueError(f'the datasets of {loader} have different ignore_index: {sorted(found)}. Give all of them '
                             'the same')
        ignored = found.pop()
        for leaf in leaf_configs(config.get('source') or config):
            fill_transforms(leaf.get('pipeline') or (), ignored)
        parts = (_parts_of_evaluator(cfg, EVALUATORS[loader]) if loader in EVALUATORS
                 else _parts_of_model(cfg['model'], heads, num_classes))
        _refuse(loader, ignored, [part for part in parts if part[1] not in (None, ignored)])


def ignore_index_of_config(config: dict) -> int:
    """Returns the ``ignore_index`` of the config of a dataset that reads files.

    Raises:
        ValueError: If it is none that an 8-bit label can hold, or mmseg would ignore other pixels.
    """
    dataset_class = DATASETS.get(config['type'])
    if dataset_class is None or not issubclass(dataset_class, BaseSegDataset):
        return config.get('ignore_index', IGNORE_INDEX)
    return checked_ignore_index(DATASETS.build(dict(config, pipeline=[], lazy_init=True)))


def checked_ignore_index(dataset: BaseSegDataset) -> int:
    """Returns the ``ignore_index`` of a built dataset, see :func:`ignore_index_of_config`."""
    ignored, name = dataset.ignore_index, type(dataset).__name__
    if not isinstance(ignored, int) or not 0 <= ignored <= 255:
        raise ValueError(f'ignore_index={ignored!r} of {name}: labels have 8 bits, give a number from 0 to 255')
    if ignored != IGNORE_INDEX and dataset.reduce_zero_label:
        raise ValueError(f'{name} has reduce_zero_label=True, which makes number 0 of the labels {IGNORE_INDEX}, but '
                         f'ignore_index={ignored}: set ignore_index={IGNORE_INDEX}')
    if ignored != IGNORE_INDEX and IGNORE_INDEX in (dataset.label_map or {}).values():
        raise ValueError(f'metainfo.classes of {name} leaves out classes, whose pixels become {IGNORE_INDEX}, but '
                         f'ignore_index={ignored}: set ignore_index={IGNORE_INDEX}, or list all classes')
    return ignored


def fill_transforms(pipeline: Sequence, ignored: int) -> None:
    """Gives transforms that leave it out the number of ignored pixels, in place.

    Raises:
        ValueError: If one compares labels with another number.
    """
    for step in pipeline:
        if not isinstance(step, dict):
            continue
        inner = step.get('transforms') or ()
        for branch in [inner] if not inner or isinstance(inner[0], dict) else inner:
            fill_transforms(branch, ignored)
        key = TRANSFORM_KEYS.get(step.get('type'))
        if key is not None and step.setdefault(key, ignored) != ignored and key == 'ignore_index':
            raise ValueError(f'{step["type"]}.ignore_index={step[key]} contradicts ignore_index={ignored} of its '
                             f'dataset: remove it from {step["type"]}')
        if step.get('type') == PAD and not (isinstance(step.get('pad_val'), dict) and 'seg' in step['pad_val']):
            value = step.get('pad_val', 0)
            step['pad_val'] = dict(img=value.get('img', 0) if isinstance(value, dict) else value, seg=ignored)


def _parts_of_model(model: dict, heads: Sequence[tuple[str, dict]], num_classes: int
                    ) -> Iterator[tuple[str, int | None]]:
    for path, head in heads:
        inner, path = ((head['kernel_generate_head'], f'{path}.kernel_generate_head')
                       if 'kernel_generate_head' in head else (head, path))
        yield f'{path}.ignore_index', inner.get('ignore_index', IGNORE_INDEX)
        losses = inner.get('loss_decode') or ()
        for place, loss in enumerate([losses] if isinstance(losses, dict) else losses):
            inside = '' if isinstance(losses, dict) else f'.{place}'
            yield from ((f'{path}.loss_decode{inside}.{key}', value) for key, value in _values_of_loss(loss))
    path = 'model'
    while 'segmentor' in model:
        model, path = model['segmentor'], f'{path}.segmentor'
    preprocessor = model.get('data_preprocessor')
    if isinstance(preprocessor, dict):
        padding = preprocessor.get('seg_pad_val', IGNORE_INDEX)
        # Padding with a class of the data is a choice.
        yield f'{path}.data_preprocessor.seg_pad_val', padding if padding >= num_classes else None


def _values_of_loss(loss: dict) -> Iterator[tuple[str, int | None]]:
    loss_class = MODELS.get(loss['type'])
    keys = {} if loss_class is None else inspect.signature(loss_class.__init__).parameters
    for key in LOSS_KEYS:
        if key in keys or key in loss:
            yield key, loss.get(key, keys[key].default if key in keys else None)


def _parts_of_evaluator(cfg: Config, name: str) -> Iterator[tuple[str, int | None]]:
    metrics = cfg.get(name) or ()
    for place, metric in enumerate([metrics] if isinstance(metrics, dict) else metrics):
        metric_class = METRICS.get(metric['type'])
        known = metric_class is not None and issubclass(metric_class, IoUMetric)
        if (known or 'ignore_index' in metric) and not metric.get('format_only'):
            yield (f'{name}.ignore_index' if isinstance(metrics, dict) else f'{name}.{place}.ignore_index',
                   metric.get('ignore_index', IGNORE_INDEX))


def _refuse(loader: str, ignored: int, wrong: Sequence[tuple[str, int]]) -> None:
    if wrong:
        given = ', '.join(f'{path}={value}' for path, value in wrong)
        remedy = ' '.join(f'{path}={ignored}' for path, _ in wrong)
        raise ValueError(f'the dataset of {loader} has ignore_index={ignored}, but the config says {given} (or leaves '
                         f'it at that): set ignore_index of the dataset, or run with --cfg-options {remedy}')
