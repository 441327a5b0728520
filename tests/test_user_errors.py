"""Mistakes of users are one line wherever they arise; faults of a program keep their stack."""
import multiprocessing
import os
import signal
import time

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmseg.registry import MODELS
from torch.utils.data import DataLoader, Dataset

from mmseg_cicld.command_line import one_line_errors
from mmseg_cicld.datasets.file_reading import read_label
from mmseg_cicld.engine import KeyedInfiniteSampler
from mmseg_cicld.engine.merged_parameter_groups import merge_groups
from mmseg_cicld.user_errors import one_line

MISTAKES = dict(
    file=lambda: read_label('/nowhere/label.png'),  # an error class of our own
    value=lambda: KeyedInfiniteSampler([1], seed=0).skip(-1))  # a ValueError
FAULTS = dict(
    conversion=lambda: int('x'),
    inside=lambda: merge_groups(3),  # Python raises in a function of ours
    division=lambda: 1 / 0,
    torch=lambda: torch.ones(2) @ torch.ones(3),
    name=lambda: undefined_name,  # noqa: F821
    elsewhere=lambda: signal.strsignal(-1))


def _caught(function) -> Exception:
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


class Broken(Dataset):
    """Fails in the worker that reads it."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if self.how == 'killed':
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(5)
        return (MISTAKES | FAULTS)[self.how]()


def _read(how: str) -> None:
    batches = iter(DataLoader(Broken(how), num_workers=1, multiprocessing_context='fork'))
    try:
        next(batches)
    finally:
        batches._shutdown_workers()  # the garbage collector would wait for them


def _call(how: str) -> None:
    (MISTAKES | FAULTS)[how]()


def _map(how: str) -> None:
    with multiprocessing.get_context('fork').Pool(1) as pool:
        pool.map(_call, [how])


@pytest.mark.parametrize('run', [_call, _read, _map], ids=['here', 'loader', 'pool'])
@pytest.mark.parametrize('how, line', [
    ('file', 'label /nowhere/label.png does not exist: check data_root, data_prefix and the suffix of the dataset '
             'config, or put the file there'),
    ('value', 'cannot skip -1 draws: give 0 or more'),
])
def test_our_words_are_the_whole_line(run, how, line):
    assert one_line(_caught(lambda: run(how))) == line


@pytest.mark.parametrize('run', [_call, _read, _map], ids=['here', 'loader', 'pool'])
@pytest.mark.parametrize('how', ['conversion'])
def test_faults_keep_their_stack(run, how):
    assert one_line(_caught(lambda: run(how))) is None


@pytest.mark.parametrize('how', FAULTS)
def test_faults_pass_through_the_tools(how):
    with pytest.raises(Exception) as caught, one_line_errors():
        FAULTS[how]()
    assert not isinstance(caught.value, SystemExit)


def test_a_killed_worker_is_named_with_what_to_do():
    line = one_line(_caught(lambda: _read('killed')))
    assert line.startswith('a worker of a data loader (process ') and 'num_workers' in line and '/dev/shm' in line


@pytest.mark.parametrize('change, line', [
    (dict(backbone=dict(depth=19)), 'invalid depth 19 for resnet'),  # a raise statement of mmseg
    (dict(decode_head=dict(input_transform='sum')), 'AssertionError'),  # an assertion without words
])
def test_what_others_refuse_while_a_config_is_built_is_a_line(change, line):
    cfg = Config(dict(model=dict(
        type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18),
        decode_head=dict(type='FCNHead', in_channels=512, channels=8, num_classes=3, num_convs=1))))
    cfg.merge_from_dict(dict(model=change))

    def build() -> None:
        with DefaultScope.overwrite_default_scope('mmseg'):
            MODELS.build(cfg.model)

    text = one_line(_caught(build))
    assert text.startswith('the config cannot be built (') and line in text and '\n' not in text


def test_a_fault_while_a_config_is_built_keeps_its_stack():
    @DATASETS.register_module(name='DividesByZero', force=True)
    class DividesByZero:
        def __init__(self) -> None:
            1 / 0

    assert one_line(_caught(lambda: DATASETS.build(dict(type='DividesByZero')))) is None


@pytest.mark.parametrize('act', [
    lambda folder: (folder / 'file' / 'x').write_text('a'),
    lambda folder: (folder / 'missing' / 'x').read_text(),
])
def test_files_are_named(tmp_path, act):
    (tmp_path / 'file').write_text('')
    line = one_line(_caught(lambda: act(tmp_path)))
    assert str(tmp_path) in line and 'Correct the path' in line


def test_full_memory_of_a_gpu_is_a_line():
    error = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has')
    assert one_line(error).startswith('the memory of the GPU is full (CUDA out of memory): lower train_data')


def test_tools_end_with_code_1_and_one_line():
    with pytest.raises(SystemExit) as ended, one_line_errors('my_tool'):
        MISTAKES['value']()
    assert ended.value.code == 'my_tool: cannot skip -1 draws: give 0 or more'
