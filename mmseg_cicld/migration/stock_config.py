"""Turns a config of MMSegmentation 1.x, which trains on labelled images, into one that adapts to a target."""
import copy
import inspect
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmseg.registry import DATASETS

from .reading import OldConfigError

METHODS = ('source_only', 'dacs', 'mic_dacs', 'minent', 'advseg')
_UDA = Path(__file__).parents[1] / '.mim' / 'configs' / '_base_' / 'uda'
_KEPT = ('env_cfg', 'vis_backends', 'visualizer', 'log_processor', 'log_level', 'load_from', 'randomness',
         'optim_wrapper', 'param_scheduler', 'val_cfg', 'test_cfg', 'val_dataloader', 'test_dataloader',
         'val_evaluator', 'test_evaluator', 'test_pipeline', 'tta_pipeline', 'tta_model', 'custom_hooks')
_STRICT = dict(LoadImageFromFile='LoadImageStrictly', LoadAnnotations='LoadLabelStrictly',
               PackSegInputs='PackUDAInputs')
_LABELS = ('LoadAnnotations', 'LoadLabelStrictly')


def adapt_stock_config(stock: Config, target_images: str, method: str = 'dacs') -> dict:
    """Returns the settings of an adaptation with the network, data, schedule and score of a stock config.

    Its training data become the labelled source. Nothing merges: the settings need no bases, so that neither the
    top-level ``data_preprocessor`` nor the stock sampler is left over, and images are padded to the crop, not more.

    Args:
        stock: Config of MMSegmentation 1.x with an iteration-based schedule.
        target_images: Folder of unlabelled images, searched with its sub-folders.
        method: One of :data:`METHODS`.

    Raises:
        OldConfigError: If a part of the config has no counterpart; the message names its key.
    """
    if method not in METHODS:
        raise OldConfigError(f"the method is '{method}', allowed are {', '.join(METHODS)}")
    _refuse(stock)
    pipeline = stock.train_dataloader.dataset.pipeline
    crop = _crop_size(pipeline)
    uda = Config.fromfile(_UDA / f'{method}.py')
    settings = dict(
        custom_imports=_imports(stock), default_scope='mmseg', runner_type='AdaptationRunner',
        label_audit=dict(max_files=16), resume=False,
        model=dict(type='ClassMixEMA', segmentor=_segmentor(stock, crop), teacher=uda.teacher,
                   objectives=uda.objectives),
        train_dataloader=_loader(stock.train_dataloader, target_images, crop),
        train_cfg=dict(stock.train_cfg, type='ExactResumeTrainLoop'),
        default_hooks=_hooks(stock))
    settings.update({key: stock[key] for key in _KEPT if key in stock})
    return Config(settings).to_dict()


def _refuse(stock: Config) -> None:
    missing = [key for key in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper') if not stock.get(key)]
    if missing:
        raise OldConfigError(f'{stock.filename} has no {", ".join(missing)}: give a config that trains in mmseg 1.x')
    if 'segmentor' in stock.model:
        raise OldConfigError(f'{stock.filename} adapts already: its model is a {stock.model.type}')
    if stock.train_cfg.get('type') != 'IterBasedTrainLoop':
        raise OldConfigError(f"train_cfg.type is '{stock.train_cfg.get('type')}', but adaptation counts iterations: "
                             "set train_cfg=dict(type='IterBasedTrainLoop', max_iters=..., val_interval=...)")
    constructor = stock.optim_wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    if constructor != 'DefaultOptimWrapperConstructor':
        raise OldConfigError(f"optim_wrapper.constructor is '{constructor}', which looks for names that start with "
                             "'backbone.' and would find none in the student: remove it, or give its rates as "
                             'paramwise_cfg.custom_keys')
    if 'pipeline' not in stock.train_dataloader.dataset:
        raise OldConfigError(f'train_dataloader.dataset is a {stock.train_dataloader.dataset.type} without a pipeline '
                             'of its own: put the dataset that it wraps in its place')


def _imports(stock: Config) -> dict:
    own = (stock.get('custom_imports') or {}).get('imports', [])
    return dict(imports=['mmseg_cicld', *([own] if isinstance(own, str) else own)], allow_failed_imports=False)


def _segmentor(stock: Config, crop: tuple[int, int]) -> dict:
    segmentor = copy.deepcopy(stock.model)
    preprocessor = dict(stock.get('data_preprocessor') or {})
    preprocessor.update(segmentor.get('data_preprocessor') or {})
    preprocessor.pop('size_divisor', None)
    segmentor.data_preprocessor = dict(preprocessor, size=crop)
    return segmentor


def _crop_size(pipeline: list[ConfigDict]) -> tuple[int, int]:
    crops = [step.crop_size for step in pipeline if step.type == 'RandomCrop']
    if not crops:
        raise OldConfigError('train_dataloader.dataset.pipeline has no RandomCrop: add one, its crop_size is the size '
                             'that source and target images are mixed at')
    size = crops[-1]
    return (size, size) if isinstance(size, int) else tuple(size)


def _loader(stock: ConfigDict, target_images: str, crop: tuple[int, int]) -> dict:
    source = copy.deepcopy(stock.dataset)
    # Images are padded to the crop on the device; padding of the pipeline's own would count as content.
    source.pipeline = [_strict(step) for step in source.pipeline if step.type != 'Pad']
    target = dict(type='FolderDataset', data_prefix=dict(img_path=target_images),
                  pipeline=[_without_labels(step, crop) for step in source.pipeline if step.type not in _LABELS])
    if _reduces_zero_label(stock.dataset):
        target['reduce_zero_label'] = True
    loader = {key: value for key, value in stock.items() if key not in ('dataset', 'sampler', 'batch_sampler')}
    return dict(loader, sampler=dict(type='KeyedInfiniteSampler'),
                dataset=dict(type='UDADataset', source=source, target=target))


def _strict(step: ConfigDict) -> ConfigDict:
    # Whether label 0 is left out is the dataset's to say, in the strict transform.
    rest = {key: value for key, value in step.items() if key not in ('type', 'reduce_zero_label')}
    return type(step)(type=_STRICT.get(step.type, step.type), **rest)


def _without_labels(step: ConfigDict, crop: tuple[int, int]) -> ConfigDict:
    step = copy.deepcopy(step)
    step.pop('cat_max_ratio', None)  # which looks at the label
    if step.type == 'PackUDAInputs':
        step.crop_size = crop  # no pseudo-labels in what is padded
    return step


def _reduces_zero_label(dataset: dict) -> bool:
    own = inspect.signature(DATASETS.get(dataset['type']).__init__).parameters.get('reduce_zero_label')
    return bool(dataset.get('reduce_zero_label', False if own is None else own.default))


def _hooks(stock: Config) -> dict:
    # The sampler is keyed by the seed itself and has no epoch to be told.
    hooks = {name: hook for name, hook in (stock.get('default_hooks') or {}).items() if name != 'sampler_seed'}
    return dict(hooks, graceful_stop=dict(type='GracefulStopHook'), report=dict(type='ReportHook'))
