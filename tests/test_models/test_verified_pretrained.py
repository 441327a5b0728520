"""Weights by address and hash: what is loaded, what is refused, and what the refusal says."""
import hashlib
import re
import shutil
from collections import Counter

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from safetensors.torch import save_file

from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError

TINY = dict(type='FusedMixVisionTransformer', embed_dims=4, num_layers=(1, 1, 1, 1))


class Stem(BaseModule):
    """A part with an initialisation of its own, which mmengine runs after that of the whole."""

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv = ConvModule(3, 4, 3, norm_cfg=dict(type='BN'))


@pytest.fixture
def weights(tmp_path):
    state = MODELS.build(TINY).state_dict()
    path = tmp_path / 'tiny.pth'
    torch.save(state, path)
    return path, state


def initialised(**init_cfg):
    network = MODELS.build(dict(TINY, init_cfg=dict(type='VerifiedPretrained', **init_cfg)))
    network.init_weights()
    return network.state_dict()


def assert_equal(state, expected):
    assert set(state) == set(expected) and all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize('digits', [8, 64])
def test_loads_a_file_whose_hash_is_right(weights, digits):
    path, state = weights
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert_equal(initialised(checkpoint=str(path), sha256=digest[:digits]), state)


@pytest.mark.parametrize('wrapper', ['state_dict', 'model'])
def test_loads_what_other_tools_wrap_or_add(weights, wrapper):
    path, state = weights
    torch.save({wrapper: {**state, 'head.weight': torch.zeros(2)}, 'meta': {}}, path)
    assert_equal(initialised(checkpoint=str(path)), state)


def test_loads_a_part_and_safetensors(weights, tmp_path):
    _, state = weights
    path = tmp_path / 'whole.safetensors'
    save_file({f'backbone.{name}': value for name, value in state.items()} | {'other': torch.ones(1)}, path)
    assert_equal(initialised(checkpoint=str(path), prefix='backbone.'), state)


def test_parts_do_not_overwrite_what_was_loaded(tmp_path):
    state = Stem().state_dict()
    torch.save(state, tmp_path / 'stem.pth')
    stem = Stem(dict(type='VerifiedPretrained', checkpoint=str(tmp_path / 'stem.pth')))
    stem.init_weights()
    assert_equal(stem.state_dict(), state)


def test_address_is_cached_and_its_name_holds_the_hash(weights, tmp_path, monkeypatch):
    path, state = weights
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cached = tmp_path / 'home' / 'hub' / 'checkpoints' / f'tiny-{digest[:8]}.pth'
    cached.parent.mkdir(parents=True)
    cached.write_bytes(path.read_bytes())
    assert_equal(initialised(checkpoint=f'http://127.0.0.1:9/{cached.name}'), state)
    cached.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PretrainedWeightsError, match='SHA-256'):
        initialised(checkpoint=f'http://127.0.0.1:9/{cached.name}')


def test_unreachable_address_names_key_and_overrides(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    address = 'http://127.0.0.1:9/mit_b0_20220624-7e0fe6dd.pth'
    with pytest.raises(PretrainedWeightsError) as error:
        initialised(checkpoint=address)
    for part in (address, '--cfg-options model.segmentor.backbone.init_cfg.checkpoint=/path/to/mit_b0',
                 '--cfg-options model.segmentor.backbone.init_cfg=None'):
        assert part in str(error.value)


@pytest.mark.parametrize('content, message', [
    (dict(norm=torch.zeros(3)), 'does not fit FusedMixVisionTransformer: .* missing, 1 \\(norm\\) unknown'),
    (dict(text='a'), 'holds no dictionary of tensors'),
    (Counter(a=1).elements, 'cannot be read as weights'),
])
def test_other_content_is_refused(tmp_path, content, message):
    path = tmp_path / 'other.pth'
    torch.save(content, path)
    with pytest.raises(PretrainedWeightsError, match=message):
        initialised(checkpoint=str(path))


def test_wrong_shape_is_named(weights):
    path, state = weights
    state['layers.0.2.weight'] = torch.zeros(7)
    torch.save(state, path)
    with pytest.raises(PretrainedWeightsError, match=re.escape('layers.0.2.weight (7,) instead of (4,)')):
        initialised(checkpoint=str(path))


def test_missing_file_and_unknown_name_are_refused():
    with pytest.raises(PretrainedWeightsError, match='there is no file /nowhere/a.pth'):
        initialised(checkpoint='/nowhere/a.pth')
    with pytest.raises(PretrainedWeightsError, match='knows no open-mmlab://resnet7'):
        initialised(checkpoint='open-mmlab://resnet7')


def test_files_of_one_name_at_two_addresses_are_two_files(weights, tmp_path, monkeypatch):
    path, state = weights
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    other = {name: value + 1 for name, value in state.items()}
    torch.save(other, tmp_path / 'other.pth')
    fetched = {'http://127.0.0.1:9/one/latest.pth': path, 'http://127.0.0.1:9/two/latest.pth': tmp_path / 'other.pth'}
    monkeypatch.setattr('mmseg_cicld.models.verified_pretrained.download_url_to_file',
                        lambda address, target: shutil.copy(fetched[address], target))
    for address, expected in zip(fetched, (state, other), strict=True):
        assert_equal(initialised(checkpoint=address), expected)


def test_downloads_share_one_folder_that_is_made_with_the_first(weights, tmp_path, monkeypatch):
    path, state = weights
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'not' / 'there'))
    monkeypatch.setattr('mmseg_cicld.models.verified_pretrained.download_url_to_file',
                        lambda address, target: shutil.copy(path, target))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for name in ('first', 'second'):
        assert_equal(initialised(checkpoint=f'http://127.0.0.1:9/{name}-{digest[:8]}.pth'), state)
