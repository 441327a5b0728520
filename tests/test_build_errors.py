"""A key or type that does not exist is named with its place in the config and the word that was meant."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import LogProcessor, Runner
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from mmseg_cicld.build_errors import did_you_mean, explain_build_error

CONFIG = Path(__file__).parents[1] / 'configs/quickstart/adapt_street.py'


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def _hooks(cfg):
    del cfg.default_hooks['visualization']  # wants the visualizer of a run
    for hook in cfg.default_hooks.values():
        HOOKS.build(hook)


def _optimizer(cfg):
    build_optim_wrapper(MODELS.build(cfg.model.segmentor.decode_head), cfg.optim_wrapper)


def _runner(cfg):
    cfg.visualizer.name = 'of this test'  # a visualizer that has the name of another is never built
    Runner.from_cfg(cfg)


BUILD = dict(
    model=lambda cfg: MODELS.build(cfg.model),
    data=lambda cfg: DATASETS.build(cfg.train_dataloader.dataset.source),
    transform=lambda cfg: TRANSFORMS.build(cfg.train_dataloader.dataset.source.pipeline[0]),
    hooks=_hooks,
    optimizer=_optimizer,
    schedule=lambda cfg: PARAM_SCHEDULERS.build(cfg.param_scheduler[0], default_args=dict(optimizer=None)),
    log=lambda cfg: LogProcessor(**cfg.log_processor),
    runner=_runner,
    loader=lambda cfg: Runner.build_dataloader(dict(cfg.val_dataloader, dataset=[1, 2])),
)


def _line(build: str, **changes) -> str | None:
    cfg = Config.fromfile(CONFIG)
    cfg.model.segmentor.decode_head.num_classes = 19
    cfg.merge_from_dict(changes)
    with pytest.raises(Exception) as caught:
        BUILD[build](cfg)
    return explain_build_error(caught.value)


@pytest.mark.parametrize('build, key, value, begins, meant', [
    ('model', 'model.objectives.1.treshold', .5, 'model.objectives.1.treshold is no key of ClassMixSelf',
     'threshold'),
    ('model', 'model.objectives.1.type', 'Contrast', "model.objectives.1.type='Contrast' is not registered as", ''),
    ('model', 'model.teacher.momentm', .5, 'model.teacher.momentm is no key of EMATeacher', 'momentum'),
    ('model', 'model.segmentor.decode_head.chanels', 8, 'model.segmentor.decode_head.chanels is no key', 'channels'),
    ('model', 'model.segmentor.decode_head.loss_decode.type', 'CrosEntropyLoss',
     "model.segmentor.decode_head.loss_decode.type='CrosEntropyLoss' is not registered", 'CrossEntropyLoss'),
    ('model', 'model.segmentor.backbone.norm_cfg.type', 'BNN', "model.segmentor.backbone.norm_cfg.type='BNN'", 'BN'),
    ('data', 'train_dataloader.dataset.source.data_rot', 'x',
     'train_dataloader.dataset.source.data_rot is no key of', 'data_root'),
    ('transform', 'train_dataloader.dataset.source.pipeline.0.type', 'LoadImgFromFile',
     "train_dataloader.dataset.source.pipeline.0.type='LoadImgFromFile' is not registered as a tr",
     'LoadImageFromFile'),
    ('hooks', 'default_hooks.chekpoint.interval', 3, 'default_hooks.chekpoint has no type (it has', 'checkpoint'),
    ('hooks', 'default_hooks.logger.intervall', 3, 'default_hooks.logger.intervall is no key of Logger', 'interval'),
    ('optimizer', 'optim_wrapper.optimizer.type', 'AdamWW', "optim_wrapper.optimizer.type='AdamWW' is not", 'AdamW'),
    ('optimizer', 'optim_wrapper.optimizer.weight_decya', 0, 'optim_wrapper.optimizer.weight_decya is no key of AdamW',
     'weight_decay'),
    ('optimizer', 'optim_wrapper.optimzer.lr', 1, 'optim_wrapper.optimzer is no key of OptimWrapper', 'optimizer'),
    ('schedule', 'param_scheduler.0.strat_factor', 1, 'param_scheduler.0.strat_factor is no key of', 'start_factor'),
    ('log', 'log_processor.by_epok', True, 'log_processor.by_epok is no key of LogProcessor', 'by_epoch'),
    ('runner', 'visualizer.vis_backends', [dict(type='LocalBackend')], "visualizer.vis_backends.0.type='LocalBackend'",
     'LocalVisBackend'),
    ('loader', 'val_dataloader.num_wokers', 1, 'val_dataloader.num_wokers is no key of DataLoader', 'num_workers'),
])
def test_place_and_meant_word_are_named(tmp_path, build, key, value, begins, meant):
    line = _line(build, work_dir=str(tmp_path), **{key: value})
    assert line.startswith(begins)
    assert f"did you mean '{meant}'?" in line if meant else 'did you mean' not in line


def test_missing_key_is_named():
    line = _line('model', **{'model.segmentor.decode_head': dict(_delete_=True, type='FCNHead', num_classes=3)})
    assert line == "model.segmentor.decode_head (FCNHead) lacks 'in_channels' and 'channels'"


def test_a_fault_inside_a_class_is_not_taken_for_a_key():
    class Broken:
        def __init__(self, threshold: float) -> None:
            self.take(threshold=threshold)

        def take(self, limit: float) -> None:
            """Takes another key than its caller gives: a fault of the program."""

    with pytest.raises(TypeError) as caught:
        MODELS.build(dict(type=Broken, threshold=.5))
    assert explain_build_error(caught.value) is None
    with pytest.raises(KeyError) as caught:
        {}['type']
    assert explain_build_error(caught.value) is None


def test_suggestions_end_a_clause():
    assert did_you_mean('lrr', ['lr', 'betas']) == "; did you mean 'lr'?"
    assert did_you_mean('quite_another', ['lr', 'betas']) == '.'
