"""Datasets and loaders: ``data`` of the old config."""
from typing import NamedTuple

from .accounting import OldPart
from .pipelines import InputFormat, TrainPipeline, migrate_test_pipeline
from .writing import Name

_TYPES = dict(CityscapesDataset='CityscapesDataset', GTADataset='GTADataset', SynthiaDataset='SYNTHIADataset',
              ACDCDataset='ACDCDataset', DarkZurichDataset='DarkZurichDataset', ISPRSDataset='ISPRSDataset',
              PotsdamDataset='PotsdamDataset', LoveDADataset='LoveDADataset')
_REDUCE_ZERO_LABEL = ('ISPRSDataset', 'PotsdamDataset', 'LoveDADataset')  # by default, in 0.x as in 1.x
_MIOU16 = ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation',
           'sky', 'person', 'rider', 'car', 'bus', 'motorcycle', 'bicycle')
_NOT_IN_MIOU13 = ('wall', 'fence', 'pole')


class NewData(NamedTuple):
    """Settings of the new config (name -> value) and the data preprocessor of the segmentor."""

    settings: dict
    data_preprocessor: dict
    from_synthia: bool


def migrate_data(data: OldPart, adapts: bool) -> NewData:
    """Migrates ``data``.

    Args:
        data: ``data`` of the old config.
        adapts: Whether the method uses target images.
    """
    input_format = InputFormat()
    train = data.part('train')
    paired = train.kind == 'UDADataset'
    settings, dataset, crop_size = (_paired if paired else _source_alone)(train, input_format, adapts)
    tests, test_datasets = _tests(data, input_format)
    settings.update(tests)
    if not input_format.complete:
        train.refuse('pipeline', 'no pipeline has a Normalize: colour jitter and mixing need mean and std')
    workers = data.number('workers_per_gpu', 'train_dataloader.num_workers, val_dataloader.num_workers, '
                                             'test_dataloader.num_workers')
    settings['train_dataloader'] = dict(
        batch_size=data.number('samples_per_gpu', 'train_dataloader.batch_size'), num_workers=workers,
        persistent_workers=workers > 0, sampler=dict(type='KeyedInfiniteSampler'), dataset=dataset)
    for name, test_dataset in test_datasets.items():
        settings[f'{name}_dataloader'] = dict(
            batch_size=1, num_workers=workers, persistent_workers=workers > 0,
            sampler=dict(type='DefaultSampler', shuffle=False), dataset=test_dataset)
    synthia = dataset['source'].get('type') == 'SYNTHIADataset'
    return NewData(settings, input_format.data_preprocessor(crop_size), synthia)


def migrate_evaluator(metrics: list[str], from_synthia: bool) -> dict:
    """Returns the evaluator; with SYNTHIA as the source results are reported over 16 and over 13 classes too."""
    if not from_synthia:
        return dict(type='IoUMetric', iou_metrics=metrics)
    miou13 = tuple(name for name in _MIOU16 if name not in _NOT_IN_MIOU13)
    return dict(type='SubsetIoUMetric', iou_metrics=metrics, subsets=dict(mIoU16=_MIOU16, mIoU13=miou13))


def _reduces_zero_label(dataset: OldPart) -> bool:
    """Tells whether a dataset ignores label 0 and counts the others from there, by its key or by its class."""
    return bool(dataset.look('reduce_zero_label', dataset.kind in _REDUCE_ZERO_LABEL))


def _paired(train: OldPart, input_format: InputFormat, adapts: bool) -> tuple[dict, dict, tuple | None]:
    new = 'train_dataloader.dataset'
    train.take('type', f'{new}.type')
    source = train.part('source')
    pipeline = TrainPipeline('source_pipeline', input_format, labelled=True)
    settings = dict(source_pipeline=pipeline.migrate(_steps(source)))
    dataset = dict(type='UDADataset', source=_dataset(source, f'{new}.source', Name('source_pipeline')), target=None)
    target = train.part('target')
    if adapts:
        margins = _margins(target)
        unlabelled = TrainPipeline('target_pipeline', input_format, labelled=False, margins=margins)
        settings['target_pipeline'] = unlabelled.migrate(_steps(target))
        dataset['target'] = _dataset(target, f'{new}.target', Name('target_pipeline'), labelled=False)
    else:
        target.drop_all('training on the source alone')
    _refuse_other_labels(source, target, adapts)
    if train.look('rare_class_sampling') is not None:
        dataset['rare_class_sampling'] = _rare_class_sampling(train.part('rare_class_sampling'))
    else:
        train.drop('rare_class_sampling', 'is off')
    train.drop_if('sync_crop_size', (None, ), 'is off', 'this package does not crop both domains at the same place; '
                                                        'set the crop_size of the pipelines')
    return settings, dataset, pipeline.crop_size


def _source_alone(train: OldPart, input_format: InputFormat, adapts: bool) -> tuple[dict, dict, tuple | None]:
    if adapts:
        train.refuse('type', f'{train.look("type")!r}: a method that adapts needs the UDADataset')
    pipeline = TrainPipeline('source_pipeline', input_format, labelled=True)
    settings = dict(source_pipeline=pipeline.migrate(_steps(train)))
    source = _dataset(train, 'train_dataloader.dataset.source', Name('source_pipeline'))
    return settings, dict(type='UDADataset', source=source, target=None), pipeline.crop_size


def _refuse_other_labels(source: OldPart, target: OldPart, adapts: bool) -> None:
    if adapts and _reduces_zero_label(source) != _reduces_zero_label(target):
        target.refuse('reduce_zero_label', f'{_reduces_zero_label(target)}, but {_reduces_zero_label(source)} for the '
                                           'source: their classes are not the same')


def _rare_class_sampling(old: OldPart) -> dict:
    path = 'train_dataloader.dataset.rare_class_sampling'
    return {key: old.number(key, f'{path}.{key}') for key in ('min_pixels', 'class_temp', 'min_crop_ratio')}


def _margins(target: OldPart) -> tuple[int, ...] | None:
    if target.look('crop_pseudo_margins') is None:
        target.drop('crop_pseudo_margins', 'there are none')
        return None
    return target.numbers('crop_pseudo_margins', 'target_pipeline[1].margins', 4)


def _tests(data: OldPart, input_format: InputFormat) -> tuple[dict, dict]:
    """Validation reads files strictly; mmseg's inference looks for a ``test_pipeline`` of stock transforms."""
    settings, datasets = {}, {}
    loading = dict(val=('LoadImageStrictly', 'LoadLabelStrictly'), test=('LoadImageFromFile', 'LoadAnnotations'))
    for name, (image, label) in loading.items():
        if name not in data:
            data.refuse(name, 'missing: the old program needs it')
            continue
        part = data.part(name)
        between = migrate_test_pipeline(_steps(part), f'{name}_pipeline', input_format)
        settings[f'{name}_pipeline'] = [dict(type=image), *between, dict(type=label), dict(type='PackSegInputs')]
        datasets[name] = _dataset(part, f'{name}_dataloader.dataset', Name(f'{name}_pipeline'))
    return settings, datasets


def _steps(dataset: OldPart) -> list[OldPart]:
    return dataset.parts('pipeline') if 'pipeline' in dataset else []


def _dataset(old: OldPart, new: str, pipeline: Name, labelled: bool = True) -> dict:
    if old.kind in _TYPES:
        old.take('type', f'{new}.type')
    elif 'img_dir' in old:
        old.refuse('type', f'{old.look("type")!r} is none of {", ".join(_TYPES)}: take a FolderDataset, see '
                           'docs/own_data.md')
    else:
        old.refuse_type(f'{old.look("type")!r} has no img_dir, as wrappers of data sets have none: put what it wraps '
                        'in its place')
        return dict(type=None, pipeline=pipeline)
    dataset = dict(type=_TYPES.get(old.kind))
    if 'data_root' in old:
        dataset['data_root'] = old.text('data_root', f'{new}.data_root').rstrip('/')
    dataset['data_prefix'] = _prefixes(old, f'{new}.data_prefix', labelled)
    if old.look('split') is not None:
        dataset['ann_file'] = old.look('split')
    old.take('split', f'{new}.ann_file')
    for key in ('img_suffix', 'seg_map_suffix'):
        if key in old:
            dataset[key] = old.take(key, f'{new}.{key}')
    dataset.update(_metainfo(old, new))
    old.drop_if('ignore_index', (255, ), 'is the default', 'labels of this package are ignored at 255')
    dataset.update(_reduce_zero_label(old, new, labelled))
    old.drop('test_mode', 'was filled in by the old program')
    if labelled:
        old.drop_if('crop_pseudo_margins', (None, ), 'there are none', 'margins belong to the target of training')
    return dict(dataset, pipeline=pipeline)


def _reduce_zero_label(old: OldPart, new: str, labelled: bool) -> dict:
    """Training read labels as ``LoadAnnotations`` said, scores as the dataset said; mmseg 1.x asks the dataset."""
    reduces = _reduces_zero_label(old)
    for step in (_steps(old) if labelled else []):
        if step.kind == 'LoadAnnotations' and bool(step.look('reduce_zero_label', False)) != reduces:
            step.refuse('reduce_zero_label', f'{not reduces}, but {reduces} for the dataset: mmseg 1.x shifts all '
                                             'labels of a dataset or none')
    if reduces and old.look('classes') is not None:
        old.refuse('classes', 'together with reduce_zero_label: mmseg 0.x chose classes first, mmseg 1.x shifts first')
    old.take('reduce_zero_label', f'{new}.reduce_zero_label')
    return dict(reduce_zero_label=True) if reduces and old.kind not in _REDUCE_ZERO_LABEL else {}


def _prefixes(old: OldPart, new: str, labelled: bool) -> dict:
    prefixes = dict(img_path=old.text('img_dir', f'{new}.img_path').rstrip('/'))
    if not labelled:
        old.drop('ann_dir', 'labels of the target are never used in training')
    else:
        prefixes['seg_map_path'] = old.text('ann_dir', f'{new}.seg_map_path').rstrip('/')
    return prefixes


def _metainfo(old: OldPart, new: str) -> dict:
    given = {key: old.take(key, f'{new}.metainfo.{key}') for key in ('classes', 'palette') if key in old}
    return dict(metainfo=given) if any(value is not None for value in given.values()) else {}
