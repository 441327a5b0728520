"""Backbones of the transformers library: the library's own maps, any size, weights from folder and file, and refusals."""
import copy
import hashlib
import re
import sys

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from safetensors.torch import save_file
from tiny_transformers import CONVNEXT, DINOV2, DINOV3, REGISTERS, VITS, tiny_network
from transformers import AutoBackbone, AutoConfig

from mmseg_cicld.models import TransformersBackbone
from mmseg_cicld.models.map_geometry import cropped_map, padded_to_multiple
from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError

FAMILIES = dict(VITS, convnext=CONVNEXT)


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    tiny_network(FAMILIES[request.param]).save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def loaded(model, **options) -> TransformersBackbone:
    backbone = MODELS.build(dict(type='TransformersBackbone', model=model, **options))
    backbone.init_weights()
    return backbone.eval()


def published(folder, **options):
    """The library's own backbone with the weights of a folder."""
    kind = type(AutoBackbone.from_config(AutoConfig.from_pretrained(folder)))
    return kind.from_pretrained(folder, **options).eval()


def images(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize('places', [(2, 3), (5, 4)])
def test_maps_of_a_folder_are_those_of_the_library(folder, places):
    backbone = loaded(str(folder))
    stages = [index + 1 for index in backbone.out_indices]  # 0 is the stem
    library = published(folder, out_indices=stages)
    batch = images(*(backbone.patch_size * side for side in places))
    own, expected = backbone(batch), library(batch).feature_maps
    assert len(own) == len(expected) == 4 and backbone.out_channels == [level.shape[1] for level in own]
    for level, reference in zip(own, expected):
        torch.testing.assert_close(level, reference, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize('family', VITS)
def test_maps_without_the_final_norm_are_the_hidden_states(family):
    network = tiny_network(VITS[family])
    backbone = TransformersBackbone(VITS[family], out_indices=[0, 2], final_norm=False).eval()
    backbone.model.load_state_dict(network.state_dict())
    batch = images(3 * backbone.patch_size, 4 * backbone.patch_size)
    states = network(batch, output_hidden_states=True).hidden_states
    for level, index in zip(backbone(batch), (1, 3), strict=True):
        tokens = states[index][:, backbone.num_prefix_tokens:]
        assert torch.equal(level, tokens.reshape(2, 3, 4, 32).permute(0, 3, 1, 2))


@pytest.mark.parametrize('family, prefix, patch', [('dinov2', 1, 14), ('registers', 5, 14), ('dinov3', 5, 16)])
def test_attributes_tell_what_a_transformer_is_made_of(family, prefix, patch):
    backbone = TransformersBackbone(VITS[family])
    assert (backbone.num_prefix_tokens, backbone.patch_size, backbone.embed_dims) == (prefix, patch, 32)
    assert isinstance(backbone.blocks, torch.nn.ModuleList) and len(backbone.blocks) == 4
    assert backbone.out_indices == (0, 1, 2, 3) and backbone.strides == (patch, ) * 4
    assert TransformersBackbone({**VITS[family], 'num_hidden_layers': 12}).out_indices == (2, 5, 8, 11)


def test_attributes_of_a_convolutional_network():
    backbone = TransformersBackbone(CONVNEXT, out_indices=[1, 3])
    assert (backbone.out_channels, backbone.strides, backbone.patch_size) == ([16, 32], (8, 32), 32)
    assert len(backbone.blocks) == 4 and backbone.embed_dims == 32


@torch.no_grad()
@pytest.mark.parametrize('size', [(57, 83), (14, 15), (70, 56)])
def test_maps_of_any_size_are_those_of_the_padded_image_at_the_middle_of_their_places(size):
    backbone = TransformersBackbone(REGISTERS, out_indices=[3]).eval()
    backbone.model.load_state_dict(tiny_network(REGISTERS).state_dict())
    batch = images(*size)
    below, right = -size[0] % 14, -size[1] % 14
    padded, = backbone(F.pad(batch, (0, right, 0, below)))
    own, = backbone(batch)
    shape = [-(-side // 14) for side in size]
    assert list(own.shape[2:]) == shape
    # The middle of place i lies at (i + 1/2) H / h pixels, where the padded map has (that / 14 - 1/2) as index.
    rows, columns = (((torch.arange(places) + 0.5) * side / places / 14 - 0.5).clamp(min=0)
                     for side, places in zip(size, shape))
    for y, row in enumerate(rows.tolist()):
        for x, column in enumerate(columns.tolist()):
            top, left = int(row), int(column)
            bottom, after = min(top + 1, shape[0] - 1), min(left + 1, shape[1] - 1)
            upper = padded[:, :, top, left].lerp(padded[:, :, top, after], column - left)
            lower = padded[:, :, bottom, left].lerp(padded[:, :, bottom, after], column - left)
            torch.testing.assert_close(own[:, :, y, x], upper.lerp(lower, row - top), atol=1e-5, rtol=1e-4)


def test_a_resampled_map_points_at_the_pixels_of_its_places():
    # A map that holds the pixel coordinate of the middle of each place, of an image of 50 padded to 56.
    padded = (torch.arange(4.) * 14 + 7).expand(1, 1, 4, 4)
    columns = cropped_map(padded, 14, (56, 50))[0, 0, 0]
    torch.testing.assert_close(columns, torch.tensor([7., 18.75, 31.25, 43.75]))  # the first is held at the edge
    assert torch.equal(cropped_map(padded, 14, (56, 56)), padded)


@torch.no_grad()
def test_levels_of_a_convolutional_network_have_the_rounded_up_share_of_places():
    backbone = TransformersBackbone(CONVNEXT).eval()
    levels = backbone(images(75, 98))
    assert [tuple(level.shape[2:]) for level in levels] == [(19, 25), (10, 13), (5, 7), (3, 4)]
    whole = backbone(padded_to_multiple(images(75, 98), 32))
    torch.testing.assert_close(levels[3], cropped_map(whole[3], 32, (75, 98)))


@torch.no_grad()
def test_scale_resizes_the_image_before_the_network():
    backbone = TransformersBackbone(DINOV2, scale=14 / 16).eval()
    level = backbone(images(64, 96))[-1]
    assert tuple(level.shape[2:]) == (4, 6)  # stride 16
    shrunk = F.interpolate(images(64, 96), size=(56, 84), mode='bilinear', align_corners=False)
    backbone.scale = 1
    assert torch.equal(level, backbone(shrunk)[-1])


@pytest.mark.parametrize('ending', ['.safetensors', '.pth'])
@pytest.mark.parametrize('names', ['of the hub', 'of the module'])
def test_weights_come_from_a_file_under_past_and_present_names(tmp_path, ending, names):
    network = tiny_network(REGISTERS)
    network.save_pretrained(tmp_path)
    state = network.state_dict()
    if names == 'of the hub':
        from safetensors.torch import load_file
        state = load_file(tmp_path / 'model.safetensors')
        assert any('attention.attention.query' in name for name in state)  # published before the library renamed
    path = tmp_path / f'weights{ending}'
    save_file(state, path) if ending == '.safetensors' else torch.save(dict(state_dict=state), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    backbone = loaded(REGISTERS, weights=str(path), sha256=sha256[:12])
    assert all(torch.equal(value, backbone.model.state_dict()[name]) for name, value in network.state_dict().items())
    with pytest.raises(PretrainedWeightsError, match='have SHA-256 .*backbone.sha256 is 00000000'):
        loaded(REGISTERS, weights=str(path), sha256='00000000')


def test_the_hash_of_a_folder_is_compared(tmp_path):
    tiny_network(DINOV2).save_pretrained(tmp_path)
    sha256 = hashlib.sha256((tmp_path / 'model.safetensors').read_bytes()).hexdigest()
    loaded(str(tmp_path), sha256=sha256)
    with pytest.raises(PretrainedWeightsError, match='SHA-256'):
        loaded(str(tmp_path), sha256='0' * 64)


def test_weights_survive_the_initialisation_of_the_whole_segmentor(folder):
    class Whole(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = MODELS.build(dict(type='TransformersBackbone', model=str(folder)))

    whole = Whole()
    whole.init_weights()
    expected = published(folder).state_dict()
    own = whole.backbone.model.state_dict()
    assert expected and all(torch.equal(value, own[name]) for name, value in expected.items() if name in own)
    assert set(own) - set(expected) <= set(whole.backbone._unused)


def test_without_weights_it_starts_from_random_ones(folder):
    expected = published(folder).state_dict()
    own = loaded(str(folder), weights=None).model.state_dict()
    assert not all(torch.equal(value, own[name]) for name, value in expected.items() if name in own)


@pytest.mark.parametrize('family', FAMILIES)
def test_every_parameter_that_is_trained_gets_a_gradient(family):
    backbone = TransformersBackbone(FAMILIES[family], out_indices=[1, 2]).train()
    sum(level.square().mean() for level in backbone(images(64, 64))).backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert not any('mask_token' in name for name in trained) and any('.2.' in name for name in trained)
    assert not any('.layer.3.' in name or 'stages.3.' in name for name in trained)


@pytest.mark.parametrize('family', VITS)
def test_recomputed_blocks_give_the_same_gradients(family):
    plain, recomputed = TransformersBackbone(VITS[family]), TransformersBackbone(VITS[family], with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    calls = []
    recomputed.blocks[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    for network in (plain, recomputed):
        sum(level.square().mean() for level in network.train()(images(48, 64))).backward()
    assert len(calls) == 2  # once more in the backward pass
    for one, other in zip(plain.parameters(), recomputed.parameters()):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)


def test_training_draws_no_positions_unless_a_config_names_it():
    backbone = TransformersBackbone(DINOV3).train()
    assert torch.equal(backbone(images(64, 64))[0], backbone(images(64, 64))[0])
    backbone = TransformersBackbone({**DINOV3, 'pos_embed_rescale': 2.0}).train()
    assert not torch.equal(backbone(images(64, 64))[3], backbone(images(64, 64))[3])


def test_a_change_between_blocks_is_what_the_following_blocks_see():
    backbone, seen = TransformersBackbone(DINOV3).eval(), {}
    with torch.no_grad():
        backbone.run_blocks(images(32, 32), {2: lambda tokens: tokens + 1},
                            {1: lambda tokens: seen.update(before=tokens), 2: lambda tokens: seen.update(after=tokens)})
        whole = backbone.model(images(32, 32), output_hidden_states=True)
        positions = backbone.model.rope_embeddings(images(32, 32))
        assert torch.equal(seen['before'], whole.hidden_states[2])
        torch.testing.assert_close(seen['after'], backbone.blocks[2](seen['before'] + 1, position_embeddings=positions))


@torch.no_grad()
@pytest.mark.parametrize('family', FAMILIES)
def test_a_copy_gives_the_same_maps(family):
    backbone = TransformersBackbone(FAMILIES[family]).eval()
    expected = backbone(images(33, 47))
    assert all(torch.equal(*pair) for pair in zip(copy.deepcopy(backbone)(images(33, 47)), expected, strict=True))
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in backbone.blocks) or family == 'convnext'


@torch.no_grad()
@pytest.mark.parametrize('architecture', [
    dict(model_type='vit', intermediate_size=64, image_size=32, hidden_size=32, num_hidden_layers=2,
         num_attention_heads=2),
    dict(model_type='siglip_vision_model', intermediate_size=64, image_size=32, hidden_size=32, num_hidden_layers=2,
         num_attention_heads=2),
    dict(model_type='beit', intermediate_size=64, image_size=32, hidden_size=32, num_hidden_layers=2,
         num_attention_heads=2, use_relative_position_bias=True),
    dict(model_type='swin', embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=4, image_size=32),
    dict(model_type='resnet', embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], layer_type='basic'),
], ids=lambda architecture: architecture['model_type'])
def test_other_families_of_the_library_give_maps_of_any_size(architecture):
    backbone = TransformersBackbone(architecture).eval()
    for level, stride, channels in zip(backbone(images(49, 70)), backbone.strides, backbone.out_channels, strict=True):
        assert tuple(level.shape) == (2, channels, -(-49 // stride), -(-70 // stride)) and level.isfinite().all()


@pytest.mark.parametrize('options, words', [
    (dict(model=DINOV2, out_indices=[4]), 'out_indices is (4,), but the network has 4 blocks: allowed are ascending'),
    (dict(model=DINOV2, out_indices=[2, 1]), 'out_indices is (2, 1)'),
    (dict(model=DINOV2, scale=0), 'scale is 0, allowed are factors above 0'),
    (dict(model=CONVNEXT, with_cp=True), 'cannot recompute the blocks of a DINOv3ConvNextBackbone'),
    (dict(model=dict(model_type='dino9')), "model_type='dino9'"),
    (dict(model={**DINOV2, 'patch_size': [8, 16], 'image_size': [32, 64]}), 'patches must be square'),
    (dict(model=dict(hidden_size=32)), 'model_type=None'),
    (dict(model={**DINOV2, 'num_attention_heads': 'two'}), 'model is no architecture'),
    (dict(model=DINOV2, weights='x.pth', init_cfg=dict(type='Pretrained', checkpoint='y')), 'weights and init_cfg'),
])
def test_arguments_that_do_not_fit_are_refused_in_one_line(options, words):
    with pytest.raises(ValueError) as error:
        TransformersBackbone(**options)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    tiny_network({**DINOV2, 'num_hidden_layers': 5}).save_pretrained(tmp_path / 'deeper')
    tiny_network({**DINOV2, 'num_hidden_layers': 3}).save_pretrained(tmp_path / 'shallower')
    tiny_network({**DINOV2, 'hidden_size': 16}).save_pretrained(tmp_path / 'narrower')
    for name, words in dict(deeper='0 missing, 18 (encoder', shallower='18 (encoder', narrower='cannot be loaded').items():
        with pytest.raises(PretrainedWeightsError) as error:
            loaded(DINOV2, weights=str(tmp_path / name))
        assert words in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(PretrainedWeightsError, match='is not there.*weights=None'):
        loaded(DINOV2, weights=str(tmp_path / 'absent.pth'))


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))

    torch.save(dict(weight=Harmful()), tmp_path / 'bad.pth')
    with pytest.raises(PretrainedWeightsError, match='cannot be read as weights'):
        loaded(DINOV2, weights=str(tmp_path / 'bad.pth'))
    assert not (tmp_path / 'ran').exists()


def test_terms_are_said_before_a_download_and_in_its_error(monkeypatch, capsys):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    backbone = TransformersBackbone(DINOV3, weights='facebook/dinov3-vits16-pretrain-lvd1689m')
    with pytest.raises(PretrainedWeightsError, match='gated under the DINOv3 License: accept it at https://.*weights=None'):
        backbone.init_weights()
    with pytest.raises(PretrainedWeightsError, match="model='facebook/dinov3-vits16.*no architecture that can be read"):
        TransformersBackbone('facebook/dinov3-vits16-pretrain-lvd1689m')


@pytest.mark.parametrize('name, said', [
    ('facebook/dinov3-vits16-pretrain-lvd1689m', 'gated under the DINOv3 License: accept it at https://huggingface.co/facebook/'),
    ('facebook/ijepa_vith14_1k', r'non-commercial use only \(CC BY-NC 4.0\)'),
    ('nvidia/mit-b0', r'non-commercial use only \(NVIDIA Source Code License'), ('facebook/dinov2-small', None)])
def test_terms_are_in_the_log_before_anything_is_fetched(name, said, monkeypatch):
    """Whether the name stands as the weights, whose architecture is given, or as the model, whose config is fetched first."""
    lines: list[str] = []
    monkeypatch.setattr('mmseg_cicld.models.backbones.transformers_weights.print_log',
                        lambda line, logger: lines.append(line))

    def fetch(*args: object, **kwargs: object) -> None:
        heard.append(list(lines))
        raise OSError('no network')

    for start, reader in ((lambda: TransformersBackbone(name), 'transformers.AutoConfig.from_pretrained'),
                          (lambda: loaded(DINOV2, weights=name), 'transformers.Dinov2Model.from_pretrained')):
        heard: list[list[str]] = []
        lines.clear()
        monkeypatch.setattr(reader, fetch)
        with pytest.raises(PretrainedWeightsError, match='no network'):
            start()
        before, = heard
        assert len(before) == (said is not None) and all(re.search(said, line) for line in before)


@pytest.mark.parametrize('family', VITS)
def test_attention_is_torchs_own_in_each_block(family, monkeypatch):
    """F.scaled_dot_product_attention, which takes flash attention where it can; nothing writes the matrix of N x N."""
    called, attend = [], torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        called.append(args[0].shape)
        return attend(*args, **kwargs)

    backbone = TransformersBackbone(VITS[family])
    assert backbone.model.config._attn_implementation == 'sdpa'
    monkeypatch.setattr('torch.nn.functional.scaled_dot_product_attention', counted)
    with torch.no_grad():
        backbone.eval()(torch.randn(1, 3, 32, 32))
    assert len(called) == len(backbone.blocks)


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ModuleNotFoundError, match='needs transformers: pip install "mmseg_cicld\\[foundation\\]"'):
        with DefaultScope.overwrite_default_scope('mmseg'):
            TransformersBackbone(DINOV2)
