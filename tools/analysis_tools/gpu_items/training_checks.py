"""What trainings promise and no CPU can show: skipped steps of a scaler, exact resume, a process group, the compiler."""
import copy
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmseg_cicld.engine.acceleration import compile_segmentors

from .methods import method_config
from .processes import ROOT
from .records import Setting
from .steps import training_step

sys.path[:0] = [str(ROOT / 'tests'), str(ROOT / 'tests' / 'test_engine')]
QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}
BFLOAT16 = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}


def skipped_step(setting: Setting, folder: Path) -> dict[str, bool | float]:
    """Trains in float16 with a scaler; the gradient of iteration 2 is infinite, and its step is no update."""
    from spoilt_training import hooks
    from toy_training import train
    states: list[dict] = []

    @HOOKS.register_module(name='WatchStates', force=True)
    class WatchStates(Hook):
        def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:  # noqa: ANN001
            states.append(copy.deepcopy(runner.model.state_dict()))

    wrapper = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': dict(init_scale=256.)}
    if not setting.cuda:
        wrapper = {'optim_wrapper.type': 'ScaledOnCpu'}
    train(folder, max_iters=4, options=QUIET | wrapper | hooks(
        dict(type='Spoil', what='gradient', iteration=2), dict(type='WatchStates')))
    counters = [tuple(int(state[name]) for name in ('iteration', 'updates', 'teacher_updates')) for state in states]
    moved = {network: [not torch.equal(one[f'{network}.decode_head.conv_seg.weight'],
                                       other[f'{network}.decode_head.conv_seg.weight'])
                       for one, other in zip(states, states[1:])] for network in ('student', 'teacher.network')}
    return dict(counters_right=counters == [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 3, 3)],
                student_right=moved['student'] == [False, True, True],
                teacher_right=moved['teacher.network'] == [True, False, True])


def exact_resume(setting: Setting, folder: Path) -> dict[str, float | str]:
    """Trains through and with a stop, by deterministic kernels and by the usual ones; gives the largest differences."""
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # without which cuBLAS is not deterministic
    from toy_training import DEGRADED, STACKED, TWO_SCALES
    methods = dict(dacs={}, hrda_mic=TWO_SCALES, dida=DEGRADED, mrm_blda_masktwins=STACKED,
                   bfloat16=TWO_SCALES | BFLOAT16)
    figures: dict[str, float | str] = {}
    for name in ['dacs'] if setting.small else methods:
        for kernels in ('deterministic', 'usual'):
            with warnings.catch_warnings(record=True) as said, _deterministic(kernels == 'deterministic'):
                warnings.simplefilter('always')
                figures[f'{name}.{kernels}'] = _resumed_difference(folder / name / kernels, QUIET | methods[name])
            others = {str(each.message).split(' ')[0] for each in said if 'deterministic' in str(each.message)}
            if others:
                figures[f'{name}.{kernels} without such a kernel'] = ', '.join(sorted(others))
    return figures


def one_process(setting: Setting, folder: Path) -> dict[str, float]:
    """Trains without a process group and in one of a single process (NCCL, without a GPU gloo)."""
    from toy_training import TWO_SCALES, records, train
    with _deterministic(True):
        train(folder / 'alone', max_iters=4, options=QUIET | TWO_SCALES)
        with _process_group_of_one():
            train(folder / 'group', max_iters=4, options=QUIET | TWO_SCALES | {'launcher': 'pytorch'})
    alone, group = ([float.fromhex(line['loss']) for line in records(folder / name)] for name in ('alone', 'group'))
    return dict(largest_relative_difference_of_losses=max(abs(a - b) / abs(a) for a, b in zip(alone, group, strict=True)))


def compiled_is_eager(setting: Setting, folder: Path) -> dict[str, float]:
    """Runs three float32 steps of small networks with and without the compiler, and gives the difference of losses."""
    figures = {}
    for method in ['daformer'] if setting.small else ['daformer', 'mic', 'dida', 'cicld', 'dinov2-l-lora']:
        config = method_config(method, small=True)
        config.merge_from_dict({'model.segmentor.decode_head.dropout_ratio': 0.0})  # drawn in another order
        if 'drop_path_rate' in config.model.segmentor.backbone or 'Mix' in config.model.segmentor.backbone.type:
            config.model.segmentor.backbone.drop_path_rate = 0.0
        torch._dynamo.reset()
        eager, fast = (training_step(setting, copy.deepcopy(config), 'float32') for _ in range(2))
        compile_segmentors(fast.func.__self__)
        with torch.compiler.set_stance('force_eager' if setting.small else 'default'):
            pairs = zip(_losses(eager), _losses(fast))
        figures[f'{method}.largest_relative_difference'] = max(abs(a - b) / abs(a) for a, b in pairs)
    return figures


def _losses(step: partial) -> list[float]:
    return [float(step()['loss']) for _ in range(3)]


def _resumed_difference(folder: Path, options: dict) -> float:
    """Returns the largest difference of a weight, or of a loss, between a training and the same with a stop."""
    from toy_training import records, train
    train(folder / 'straight', max_iters=6, options=options)
    train(folder / 'stopped', max_iters=6, options=options | {'train_cfg.max_iters': 3})
    train(folder / 'stopped', max_iters=6, options=options | {'resume': True})
    one, other = (torch.load(folder / name / 'final.rank0', weights_only=True) for name in ('straight', 'stopped'))
    weights = [float((one[name].double() - other[name].double()).abs().max()) for name in one]
    losses = [abs(float.fromhex(a['loss']) - float.fromhex(b['loss']))
              for a, b in zip(records(folder / 'straight'), records(folder / 'stopped'), strict=True)]
    return max(weights + losses)


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def _process_group_of_one() -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    place = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost', MASTER_PORT=str(port))
    before = {name: os.environ.get(name) for name in place}
    os.environ.update(place)
    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
