"""Checkpoints are whole or not there, hold plain data, and run no code when they are read."""
import os
import pickle
import resource
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from toy_training import assert_same

from mmseg_cicld.engine import CheckpointError, fetch_checkpoint, read_checkpoint, safe_loading, write_checkpoint

CONTENT = {'meta': {'iter': 3}, 'state_dict': {'w': torch.arange(3000.)}}


class Attack:
    """Leaves a file behind when a pickle of it is executed."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}', )


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / 'good.pth'
    write_checkpoint(CONTENT, path)
    return path


def test_plain_data_survives_without_an_allow_list(tmp_path):
    state = OrderedDict(w=torch.ones(2, requires_grad=True))
    state._metadata = OrderedDict(version=2)
    content = dict(state=state, number=np.float32(1.5), array=np.arange(3), path=Path('a/b'), pair=(1, 'x'), none=None,
                   nested=[dict(flag=np.bool_(True))], history=HistoryBuffer([1., 2.], [1, 1]))
    write_checkpoint(content, tmp_path / 'a.pth')
    read = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert read['state']._metadata == state._metadata and not read['state']['w'].requires_grad
    read['state'] = dict(read['state'])
    expected = dict(state=dict(w=torch.ones(2)), number=1.5, array=torch.arange(3), path='a/b', pair=(1, 'x'),
                    none=None, nested=[dict(flag=True)],
                    history=dict(history=torch.tensor([1., 2.], dtype=torch.float64), counts=torch.tensor([1, 1])))
    assert_same(read, expected)


@pytest.mark.parametrize('value', [object(), {1, 2}, lambda: 0, np.array(['a', None])])
def test_what_is_not_plain_is_refused_by_name(good, value):
    with pytest.raises(CheckpointError, match='good.pth: meta: extra: is a .* which cannot be saved'):
        write_checkpoint({'meta': {'extra': value}}, good)
    assert_same(read_checkpoint(good), CONTENT)


class Unsavable(torch.Tensor):
    """Raises while it is pickled."""

    def __reduce_ex__(self, protocol):
        raise RuntimeError('cannot be pickled')


def test_failing_save_leaves_the_previous_file_and_no_other(good):
    with pytest.raises(RuntimeError, match='cannot be pickled'):
        write_checkpoint({'a': torch.ones(10**5), 'b': torch.ones(1).as_subclass(Unsavable)}, good)
    assert_same(read_checkpoint(good), CONTENT)
    assert os.listdir(good.parent) == ['good.pth']


def test_full_disk_leaves_the_previous_file_and_no_other(good):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match='good.pth: cannot be written .File too large.*untouched'):
            write_checkpoint({f'w{i}': torch.ones(30_000) for i in range(9)}, good)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(read_checkpoint(good), CONTENT)
    assert os.listdir(good.parent) == ['good.pth']


def test_folder_that_cannot_be_made_is_named(good):
    with pytest.raises(CheckpointError, match='good.pth/iter_1.pth: cannot be written .*work_dir'):
        write_checkpoint(CONTENT, good / 'iter_1.pth')


@pytest.mark.parametrize('sixteenth', range(16))
def test_truncated_file_is_named(good, sixteenth):
    content = good.read_bytes()
    good.write_bytes(content[:len(content) * sixteenth // 16])
    with pytest.raises(CheckpointError, match=r'good.pth: is (empty|cut short|damaged|not a checkpoint)') as error:
        read_checkpoint(good)
    assert '\n' not in str(error.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_is_noticed_or_harmless(good, place, bit):
    content = bytearray(good.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    flipped = good.with_name('flipped.pth')
    flipped.write_bytes(content)
    try:
        read = read_checkpoint(flipped)
    except CheckpointError as error:
        assert 'flipped.pth: ' in str(error) and '\n' not in str(error)
    else:
        assert_same(read, CONTENT)


def test_flipped_bit_in_a_weight_is_noticed(good):
    content = bytearray(good.read_bytes())
    content[content.index(torch.arange(1000., 1010.).numpy().tobytes())] ^= 1
    good.write_bytes(content)
    with pytest.raises(CheckpointError, match='checksum'):
        read_checkpoint(good)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), magic=st.sampled_from([b'', b'PK', b'PK\x03\x04', b'\x80\x02']))
def test_any_bytes_give_one_line(tmp_path, data, magic):
    path = tmp_path / 'noise.pth'
    path.write_bytes(magic + data)
    with pytest.raises(CheckpointError, match='noise.pth: ') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)


def _read_by_mmengine(path: Path | str) -> dict:
    with safe_loading():
        return CheckpointLoader.load_checkpoint(str(path), 'cpu')


def _legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _bare(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize('save', [torch.save, _legacy, _bare])
def test_attack_does_not_run(tmp_path, save):
    marker, path = tmp_path / 'marker', tmp_path / 'attack.pth'
    save({'state_dict': {}, 'meta': Attack(marker)}, path)
    for read in (read_checkpoint, fetch_checkpoint, _read_by_mmengine):
        with pytest.raises(CheckpointError, match=r'attack.pth: .*') as error:
            read(path)
        assert '\n' not in str(error.value) and not marker.exists()
    if save is torch.save:
        assert 'posix.system' in str(error.value) and 'allow_unsafe_checkpoints=True' in str(error.value)
        read_checkpoint(path, allow_unsafe=True)
        assert marker.exists()


class Getattr:
    """Tries to get at something else through the stand-in for getattr that mmengine's log histories need."""

    def __reduce__(self):
        return getattr, (torch.Tensor, 'share_memory_')


def test_getattr_is_not_allowed_at_large(tmp_path):
    torch.save({'a': Getattr()}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='builtins.getattr'):
        read_checkpoint(tmp_path / 'a.pth')


def test_checkpoint_of_mmengine_is_read(tmp_path):
    buffer = HistoryBuffer([1., 2.], [1, 1])
    content = dict(state_dict=dict(w=torch.ones(2)), message_hub=dict(log_scalars=dict(loss=buffer)),
                   meta=dict(score=np.float32(3.5), counts=np.arange(3), flag=np.bool_(True)))
    torch.save(content, tmp_path / 'theirs.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'theirs.pth', weights_only=True)
    for read in (read_checkpoint(tmp_path / 'theirs.pth'), _read_by_mmengine(tmp_path / 'theirs.pth')):
        assert torch.equal(read['state_dict']['w'], torch.ones(2))
        assert read['meta']['score'] == 3.5 and read['meta']['counts'].tolist() == [0, 1, 2]


def test_missing_file_and_wrong_content_are_named(tmp_path):
    with pytest.raises(CheckpointError, match='nothing.pth: there is no such file'):
        read_checkpoint(tmp_path / 'nothing.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='list.pth: holds a list'):
        read_checkpoint(tmp_path / 'list.pth')
    with zipfile.ZipFile(tmp_path / 'other.pth', 'w') as archive:
        archive.writestr('a.txt', 'hello')
    with pytest.raises(CheckpointError, match='other.pth: is '):
        read_checkpoint(tmp_path / 'other.pth')
