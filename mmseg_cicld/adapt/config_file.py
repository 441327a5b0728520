"""Writes a stage as a plain config: the tool itself trains by this file, and so does ``tools/train.py``."""
from collections.abc import Mapping
from pathlib import Path

from ..atomic_files import replacing
from .choices import CLASS_TEMPERATURE, HEAD_LR_FACTOR, WEIGHT_DECAY, Schedule, Settings
from .data_description import DataDescription
from .methods import SOURCE_FREE, SOURCE_ONLY, base_config, custom_hooks, network, plain, signals
from .python_text import Name, python_text

_SHARED = ('custom_imports', 'default_scope', 'runner_type', 'env_cfg', 'vis_backends', 'visualizer', 'log_processor',
           'log_level', 'label_audit')
_CROP, _CLASSES, _ITERATIONS = Name('crop_size'), Name('metainfo'), Name('iterations')


def write_config(path: Path, method: str, stage: str, data: DataDescription, settings: Settings, seed: int,
                 statistics: Path, load_from: Path | None = None, segmentor: Mapping | None = None) -> None:
    """Writes the config of one stage.

    Args:
        path: The file.
        method: The method of the whole run, which decides on the network.
        stage: The method of this stage: ``'source_only'``, or the same as ``method``.
        data: Folders and classes.
        settings: What was chosen.
        seed: Seed of the training.
        statistics: File of class statistics of the source labels.
        load_from: Checkpoint that the stage begins with, None for ImageNet weights.
        segmentor: Config of the network, None for that of the method.
    """
    segmentor = network(method, settings) if segmentor is None else plain(segmentor)
    schedule = Schedule.of(settings.source_only if stage == SOURCE_ONLY else settings.adaptation)
    parts: dict[str, Mapping[str, object]] = {
        'The data. The number of classes follows from the list; 255 in a label means ignore.': _data(data, settings),
        'Crops and scales; a scale is the long and the short side that images are resized into.':
            _pipelines(data, settings),
        'Batches hold as many source as target images.' if data.source else 'Batches hold target images alone.':
            _loaders(stage, data, settings, statistics),
        'The network, and what trains it.': _model(segmentor, stage, data, settings),
        'The schedule.': _schedule(schedule, data, settings),
        'Runner, log and checkpoints.': _runtime(stage, schedule, data, seed, load_from)}
    text = f'# Written by tools/adapt.py: {_title(stage)}. A plain config: change what you like, and run\n'
    text += f'#   python tools/train.py {path}\n'
    for comment, entries in parts.items():
        text += f'\n# {comment}\n' + ''.join(f'{key} = {python_text(value, 0, len(key) + 3)}\n'
                                             for key, value in entries.items())
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def _title(stage: str) -> str:
    titles = {SOURCE_ONLY: 'labelled source images alone',
              SOURCE_FREE: 'adaptation of a trained segmentor to target images, without its source'}
    return titles.get(stage, f'adaptation to the target by {stage}')


def _data(data: DataDescription, settings: Settings) -> dict:
    return dict(metainfo=data.metainfo, crop_size=settings.crop_size)


def _pipelines(data: DataDescription, settings: Settings) -> dict:
    source, target = _resize(settings.source_scale), _resize(settings.target_scale)
    image, label, flip = (dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly'),
                          dict(type='RandomFlip', prob=0.5))
    of_source = dict(source_pipeline=[image, label, *source, dict(type='RandomCrop', crop_size=_CROP, cat_max_ratio=0.75),
                                      flip, dict(type='PackUDAInputs')])
    return ({} if data.source is None else of_source) | dict(
        target_pipeline=[image, *target, dict(type='RandomCrop', crop_size=_CROP), flip,
                         dict(type='PackUDAInputs', crop_size=_CROP)],
        # Labels are loaded after Resize: scores are computed at the resolution of the label files.
        val_pipeline=[image, *target, label, dict(type='PackSegInputs')],
        test_pipeline=[dict(type='LoadImageFromFile'), *target, dict(type='LoadAnnotations'),
                       dict(type='PackSegInputs')])


def _resize(scale: tuple[int, int] | None) -> list[dict]:
    return [] if scale is None else [dict(type='Resize', scale=scale, keep_ratio=True)]


def _loaders(stage: str, data: DataDescription, settings: Settings, statistics: Path) -> dict:
    workers = dict(num_workers=settings.num_workers, persistent_workers=True)
    target = None if stage == SOURCE_ONLY else data.target.dataset(Name('target_pipeline'), _CLASSES)
    train = dict(type='UnlabelledDataset', target=target) if data.source is None else dict(
        type='UDADataset', source=data.source.dataset(Name('source_pipeline'), _CLASSES), target=target,
        rare_class_sampling=dict(min_pixels=settings.min_pixels, class_temp=CLASS_TEMPERATURE,
                                 min_crop_ratio=settings.min_crop_ratio, stats=str(statistics)))
    found = dict(train_dataloader=dict(batch_size=settings.batch_size, **workers,
                                       sampler=dict(type='KeyedInfiniteSampler'), dataset=train))
    if data.validation is None:
        return found
    for name in ('val', 'test'):
        dataset = data.validation.dataset(Name(f'{name}_pipeline'), _CLASSES)
        if name == 'val' and settings.val_every > 1:
            dataset['indices'] = Name(f'list(range(0, {data.validation.count}, {settings.val_every}))')
        found[f'{name}_dataloader'] = dict(batch_size=1, **workers,
                                           sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
        found[f'{name}_evaluator'] = dict(type='IoUMetric', iou_metrics=['mIoU'])
    return found


def _model(segmentor: dict, stage: str, data: DataDescription, settings: Settings) -> dict:
    segmentor['data_preprocessor'].pop('size_divisor', None)
    segmentor['data_preprocessor']['size'] = _CROP
    teacher, objectives = signals(stage, settings, data.classes)
    evaluate = settings.evaluate if teacher is not None else 'student'
    return dict(model=dict(type='ClassMixEMA', segmentor=segmentor, teacher=teacher, evaluate=evaluate,
                           objectives=objectives))


def _schedule(schedule: Schedule, data: DataDescription, settings: Settings) -> dict:
    factor = dict(lr_mult=HEAD_LR_FACTOR if data.source else 1.0)  # a head that is given has been trained
    train = dict(type='ExactResumeTrainLoop', max_iters=_ITERATIONS, val_interval=schedule.val_interval)
    found = dict(
        iterations=schedule.iterations,
        optim_wrapper=dict(
            type='OptimWrapper', constructor='MergedOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=settings.encoder_lr, weight_decay=WEIGHT_DECAY),
            paramwise_cfg=dict(custom_keys=dict(head=factor, neck=factor))),
        param_scheduler=[
            dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=schedule.warm_up + 1),
            dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=schedule.iterations + 1)],
        train_cfg=train)
    return found if data.validation is None else found | dict(val_cfg=dict(type='ValLoop'),
                                                              test_cfg=dict(type='TestLoop'))


def _runtime(stage: str, schedule: Schedule, data: DataDescription, seed: int, load_from: Path | None) -> dict:
    shared = plain(base_config('default_runtime'))
    best = dict(save_best='mIoU') if data.validation is not None else {}
    hooks = shared['default_hooks'] | dict(
        logger=dict(type='LoggerHook', interval=schedule.log_interval, log_metric_by_epoch=False),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=schedule.checkpoint_interval,
                        max_keep_ckpts=1, **best))
    own = custom_hooks(stage)
    return {key: shared[key] for key in _SHARED} | (dict(custom_hooks=own) if own else {}) | dict(
        randomness=dict(seed=seed), load_from=None if load_from is None else str(load_from), resume=False,
        channels_last=True, default_hooks=hooks)
