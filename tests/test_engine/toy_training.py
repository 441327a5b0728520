"""A tiny real training (ClassMixEMA around an mmseg EncoderDecoder), for tests and as a script for torchrun.

``python toy_training.py ARGUMENTS.json`` trains :func:`toy_config` with these arguments.
"""
import copy
import json
import multiprocessing
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.random_streams import KeyedStreams

SIZE = 32
CLASSES = ('road', 'car', 'sky', 'person')


@MODELS.register_module()
class ToyBackbone(nn.Module):
    """Two convolutions, group norm (batch size independent) or batch norm, and dropout."""

    def __init__(self, norm: str = 'GN', dropout: float = 0.1, with_cp: bool = False) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, 8) if norm == 'GN' else getattr(nn, norm)(8)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.dropout(self.norm(self.conv(x)).relu()), )


def _sample(streams: KeyedStreams, domain: str, position: int, labelled: bool) -> dict:
    generator = streams.torch(domain, position)
    image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    sample = SegDataSample(metainfo=dict(img_path=f'{domain}_{position}.png', img_shape=(SIZE, SIZE),
                                         ori_shape=(SIZE, SIZE)))
    if labelled:
        label = torch.randint(0, len(CLASSES), (1, SIZE, SIZE), generator=generator)
        sample.gt_sem_seg = PixelData(data=label)
    return dict(inputs=image, data_samples=sample)


@DATASETS.register_module()
class ToyPairs(Dataset):
    """Keyed pairs of noise images that wrap around after ``length``; ``die_at`` kills the worker that draws it."""

    METAINFO = dict(classes=CLASSES, palette=[[0, 0, i] for i in range(len(CLASSES))])

    def __init__(self, length: int = 5, die_at: int | None = None) -> None:
        self.length, self.die_at, self.metainfo = length, die_at, self.METAINFO

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key) -> dict:
        if key.position == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        streams, wrapped = KeyedStreams(key.seed), key.position % self.length
        return dict(source=_sample(streams, 'source', wrapped, True), target=_sample(streams, 'target', wrapped, False))


@DATASETS.register_module()
class ToyLabelled(ToyPairs):
    """The source images alone, in the form of ordinary mmseg datasets."""

    def __getitem__(self, key) -> dict:
        return super().__getitem__(key)['source']


@DATASETS.register_module()
class ToyTest(Dataset):
    """Three labelled target images for validation."""

    def __init__(self) -> None:
        self.metainfo = ToyPairs.METAINFO

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        return _sample(KeyedStreams(99), 'validation', index, True)


@HOOKS.register_module()
class Recorder(Hook):
    """Writes what each iteration read and logged to a file, one JSON line each; may kill or signal the process."""

    priority = 'VERY_LOW'

    def __init__(self, file: str, signal_at: int | None = None, signum: int = signal.SIGKILL,
                 group: bool = False) -> None:
        self.file, self.signal_at, self.signum, self.group = file, signal_at, signum, group

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter + 1 == self.signal_at:
            (os.killpg if self.group else os.kill)(os.getpgid(0) if self.group else os.getpid(), self.signum)

    def after_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        batch = data_batch.get('source', data_batch.get('target', data_batch))
        files = [sample.img_path for sample in batch['data_samples']]
        logged = {name: float(value).hex() for name, value in outputs.items()}
        line = dict(iter=runner.iter + 1, files=files, lr=runner.optim_wrapper.get_lr()['lr'][0], **logged)
        with open(f'{self.file}.rank{runner.rank}', 'a') as stream:
            print(json.dumps(line, sort_keys=True), file=stream)

    def after_train(self, runner) -> None:
        model = getattr(runner.model, 'module', runner.model)
        torch.save(model.state_dict(), f'{runner.work_dir}/final.rank{runner.rank}')


@HOOKS.register_module()
class SignalFromOutside(Hook):
    """Signals the process where ``TOY_SIGNAL=FOLDER:ITERATION:SIGNAL`` in its environment says; no config shows it."""

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        folder, iteration, signum = os.environ.get('TOY_SIGNAL', 'none:0:0').split(':')
        if Path(runner.work_dir).name == folder and runner.iter + 1 == int(iteration):
            os.kill(os.getpid(), int(signum))


def toy_config(work_dir: str, max_iters: int = 8, save_interval: int = 3, val_interval: int = 4, workers: int = 0,
               batch_size: int = 2, options: dict | None = None) -> Config:
    """Returns a complete config; ``options`` are dotted keys as of ``--cfg-options``."""
    model = dict(
        type='ClassMixEMA',
        segmentor=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[128.] * 3, std=[64.] * 3, bgr_to_rgb=True,
                                   pad_val=0, seg_pad_val=255, size=(SIZE, SIZE)),
            backbone=dict(type='ToyBackbone'),
            decode_head=dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1, num_classes=4,
                             norm_cfg=dict(type='GN', num_groups=2), dropout_ratio=0.1,
                             loss_decode=dict(type='CrossEntropyLoss')),
            test_cfg=dict(mode='whole')),
        teacher=dict(momentum=0.9),
        objectives=[dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255)])
    loader = dict(batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0)
    cfg = dict(
        work_dir=work_dir, runner_type='AdaptationRunner', default_scope='mmseg', model=model,
        train_dataloader=dict(dataset=dict(type='ToyPairs'), sampler=dict(type='KeyedInfiniteSampler'), **loader),
        val_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(type='ToyTest'),
                            sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        train_cfg=dict(type='ExactResumeTrainLoop', max_iters=max_iters, val_interval=val_interval),
        val_cfg=dict(type='ValLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, begin=0, end=3, by_epoch=False),
                         dict(type='PolyLR', power=1.0, eta_min=0, begin=3, end=max(max_iters, 4), by_epoch=False)],
        default_hooks=dict(
            graceful_stop=dict(type='GracefulStopHook'),
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=save_interval, max_keep_ckpts=2)),
        custom_hooks=[dict(type='Recorder', file=os.path.join(work_dir, 'record.jsonl'))],
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')),
        log_processor=dict(by_epoch=False), log_level='WARNING', randomness=dict(seed=3),
        experiment_name=uuid.uuid4().hex)
    cfg = Config(cfg)
    cfg.merge_from_dict(copy.deepcopy(options or {}))  # the merge removes _delete_
    return cfg


# Options that make the toy a two-scale segmentor with masked consistency: HRDA and MIC.
TWO_SCALES = {
    'model.segmentor.type': 'HRDAEncoderDecoder', 'model.segmentor.hr_crop_size': (16, 16),
    'model.segmentor.decode_head.type': 'HRDAHead', 'model.segmentor.decode_head.single_scale_head': 'FCNHead',
    'model.segmentor.decode_head.hr_loss_weight': 0.1,
    'model.objectives': [
        dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255),
        dict(type='MaskedConsistency', block=8, threshold=0.255, own_teacher=dict(momentum=0.5))]}
# Options that add DiDA, to the toy as it is and, joined with those above, to two scales.
DEGRADED = {
    'model.objectives': [
        dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255),
        dict(type='DegradationConsistency', threshold=0.255, weights=(0.5, 0.1))]}
# What MRM, BLDA and MaskTwins add to a list of objectives, and options that add them to ClassMix, on one or two scales.
ADDITIONS = [
    dict(type='MaskedRepresentationModeling', cell=8, width=8, heads=2, threshold=0.255),
    dict(type='BalancedLogits', min_pixels=50, warmup=3, samples=256),
    dict(type='ComplementaryMasking', block=8, threshold=0.255)]
STACKED = {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255), *ADDITIONS]}


def train(work_dir: str | Path, make_config: Callable[..., Config] = toy_config, **kwargs) -> AdaptationRunner:
    """Trains a config and returns its runner."""
    runner = AdaptationRunner.from_cfg(make_config(str(work_dir), **kwargs))
    runner.train()
    return runner


def train_in_child(work_dir: str | Path, prepare: Callable[[], None] = lambda: None, **kwargs) -> int:
    """Trains in a forked process, which may die; returns its exit code (negative: the signal)."""
    return train_in_children(work_dir, 0, lambda rank: prepare(), **kwargs)[0]


def train_in_children(work_dir: str | Path, processes: int, prepare: Callable[[int], None] = lambda rank: None,
                      **kwargs) -> list[int]:
    """Trains in forked processes that talk through gloo (0: one process, not distributed); returns exit codes."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]

    def body(rank: int) -> None:
        prepare(rank)
        if processes:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR='localhost',
                              MASTER_PORT=str(port))
            kwargs['options'] = dict(kwargs.get('options') or {}, launcher='pytorch')
        train(work_dir, **kwargs)

    context = multiprocessing.get_context('fork')
    children = [context.Process(target=body, args=(rank, )) for rank in range(max(processes, 1))]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        if child.exitcode is None:
            child.kill()
    return [child.exitcode for child in children]


def records(work_dir: str | Path, rank: int = 0) -> list[dict]:
    """Returns what each iteration read and logged; iterations that were run twice have to agree."""
    lines = [json.loads(line) for line in Path(work_dir, f'record.jsonl.rank{rank}').read_text().splitlines()]
    by_iteration: dict[int, dict] = {}
    for line in lines:
        assert by_iteration.setdefault(line['iter'], line) == line
    return [by_iteration[n] for n in sorted(by_iteration)]


def assert_same(one, other, where: str = '') -> None:
    """Asserts that two nested states agree bitwise."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other)):
            assert_same(*pair, f'{where}[{i}]')
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path, last: int = 8) -> None:
    """Asserts that two work dirs hold the same run: every iteration, weights, optimiser and schedules."""
    assert records(one) == records(other)
    states = [read_checkpoint(folder / f'iter_{last}.pth') for folder in (one, other)]
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(states[0][part], states[1][part], part)


if __name__ == '__main__':
    torch.set_num_threads(1)
    with open(sys.argv[1]) as arguments:
        train(**json.load(arguments))
