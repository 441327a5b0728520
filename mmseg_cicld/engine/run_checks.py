"""What can be said of the config of a run before anything of it is built."""
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook
from mmseg.evaluation import CityscapesMetric, DepthMetric, IoUMetric
from mmseg.registry import DATASETS

from ..build_errors import did_you_mean, parameters_of, unknown_type
from .checkpoint_hook import AtomicCheckpointHook

_METRICS = {kind.__name__: kind for kind in (IoUMetric, CityscapesMetric, DepthMetric)}
_INNER_DATASETS = ('dataset', 'datasets', 'source', 'target')
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Settings of torch's DataLoader for its processes -> what they are without any.
_OF_WORKERS = {'persistent_workers': False, 'prefetch_factor': None, 'timeout': 0}


def check_run_config(cfg: Mapping) -> None:
    """Refuses a config without a model, a folder that cannot be written, and loaders that contradict themselves.

    Args:
        cfg: The whole config.

    Raises:
        ValueError: With the key to change.
    """
    for key, example in dict(model="dict(type='ClassMixEMA', ...)", work_dir="'work_dirs/NAME'").items():
        if cfg.get(key) is None:
            raise ValueError(f'the config has no {key}: set {key}={example}')
    for name in _LOADERS:
        if isinstance(cfg.get(name), Mapping):
            _check_loader(cfg[name], name)
            _check_datasets(cfg[name].get('dataset'), f'{name}.dataset')
    _check_start(cfg)
    for path, part in _swallowing_parts(cfg):
        _check_swallowed_keys(part, path)
    _check_work_dir(cfg['work_dir'])


def _check_start(cfg: Mapping) -> None:
    """Refuses a source-free adaptation of a segmentor that has not learned anything."""
    objectives = (cfg['model'].get('objectives') or ()) if isinstance(cfg['model'], Mapping) else ()
    free = any(isinstance(each, Mapping) and each.get('type') == 'TargetSelfTraining' for each in objectives)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if free and dataset.get('type') == 'UnlabelledDataset' and not (cfg.get('load_from') or cfg.get('resume')):
        raise ValueError('this training has no source images, so it needs a segmentor that is trained already: set '
                         'load_from=CHECKPOINT (--cfg-options load_from=...), its network in model.segmentor')


def _check_loader(loader: Mapping, name: str) -> None:
    if loader.get('num_workers', 0):
        return
    wrong = [key for key, nothing in _OF_WORKERS.items() if loader.get(key, nothing) != nothing]
    if wrong:
        given = ', '.join(f'{name}.{key}={loader[key]}' for key in wrong)
        remedy = ' '.join(f'{name}.{key}={_OF_WORKERS[key]}' for key in wrong)
        raise ValueError(f'{given} is for loaders with processes of their own, but {name}.num_workers is '
                         f'{loader.get("num_workers", 0)}: set it to 1 or more, or run with --cfg-options {remedy}')


def _check_datasets(part: object, path: str) -> None:
    """Refuses a dataset, or one inside it, without a type or with one that does not exist."""
    if not isinstance(part, Mapping):
        return
    kind = part.get('type')
    if kind is None:
        raise ValueError(f'{path} has no type (it has {", ".join(part)})')
    if isinstance(kind, str) and DATASETS.get(kind) is None:
        raise ValueError(unknown_type(f'{path}.type', kind, DATASETS))
    for key in _INNER_DATASETS:
        inner = part.get(key)
        for index, each in enumerate(inner) if isinstance(inner, (list, tuple)) else [(None, inner)]:
            _check_datasets(each, f'{path}.{key}' if index is None else f'{path}.{key}.{index}')


def _swallowing_parts(cfg: Mapping) -> Iterator[tuple[str, Mapping]]:
    """Yields the parts whose classes in mmengine and mmseg take any key and leave alone what they do not know."""
    for name in ('val_evaluator', 'test_evaluator'):
        found = cfg.get(name)
        for index, part in enumerate(found) if isinstance(found, (list, tuple)) else [(None, found)]:
            if isinstance(part, Mapping) and part.get('type') in _METRICS:
                yield name if index is None else f'{name}.{index}', part
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if isinstance(hook, Mapping) and hook.get('type') == CheckpointHook.__name__:
        yield 'default_hooks.checkpoint', hook


def _check_swallowed_keys(part: Mapping, path: str) -> None:
    kind = _METRICS.get(part['type'], AtomicCheckpointHook)
    known = [*parameters_of(kind), *([] if kind is AtomicCheckpointHook else parameters_of(BaseMetric)), 'type', '_scope_']
    for key in part:
        if key not in known:
            raise ValueError(f'{path}.{key} is no key of {part["type"]}{did_you_mean(key, known)} Keys that it takes: '
                             f'{", ".join(parameters_of(kind))}')


def _check_work_dir(folder: str) -> None:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f'work_dir {folder} cannot be written ({error.strerror}): give another --work-dir, or correct '
                         'its permissions') from error
