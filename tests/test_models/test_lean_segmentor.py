"""The segmentor that only predicts: the same labels and logits as the one that it was made of."""
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_cicld.models.decode_heads import LevelwiseSegformerHead
from mmseg_cicld.models.decode_heads.fusion_layers import SeparableConv
from mmseg_cicld.models.inference import lean_segmentor
from mmseg_cicld.models.inference.folded_norms import fold_norms, is_folded
from mmseg_cicld.models.inference.lean_heads import LeanDAFormerHead, separable_by_phases
from mmseg_cicld.models.inference.winograd import WinogradConvolution, fits

ROOT = Path(__file__).parents[2]
NORM = dict(type='BN', requires_grad=True)


def _segmentor(file: str, stock_mit: bool = False) -> nn.Module:
    """A segmentor of a config with random weights and statistics that no norm has by itself."""
    config = Config.fromfile(ROOT / 'configs/_base_/models' / file).model
    config.backbone.init_cfg = None
    if stock_mit:
        config.backbone = dict(type='MixVisionTransformer', embed_dims=32, num_layers=(1, 1, 1, 1), num_heads=(1, 2, 5, 8),
                               sr_ratios=(8, 4, 2, 1), qkv_bias=True, norm_cfg=dict(type='LN', eps=1e-6))
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def _metas(size: tuple[int, int]) -> list[dict]:
    return [dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)]


@pytest.mark.parametrize('file, stock_mit, head', [
    ('segformer_efficientnet-lite0.py', False, LevelwiseSegformerHead), ('daformer_sepaspp_mit-b0.py', True, LeanDAFormerHead),
    ('daformer_efficientnet-lite0.py', False, LeanDAFormerHead), ('deeplabv3plus_efficientnet-lite0.py', False, None)])
@torch.no_grad()
def test_logits_are_those_of_the_network_of_the_training(file, stock_mit, head, mmseg_scope):
    model = _segmentor(file, stock_mit)
    state, images = copy.deepcopy(model.state_dict()), torch.randn(1, 3, 90, 130)
    expected, lean = model.inference(images, _metas((90, 130))), lean_segmentor(model)
    found = lean.inference(images, _metas((90, 130)))
    assert head is None or type(lean.decode_head) is head
    torch.testing.assert_close(found, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lean.modules())
    for name, tensor in model.state_dict().items():  # the copy left the original alone
        assert torch.equal(tensor, state[name]), name


def test_gradients_reach_the_images(mmseg_scope):
    model, images = _segmentor('daformer_sepaspp_mit-b0.py'), torch.randn(1, 3, 64, 64)
    gradients = []
    for network in (model.requires_grad_(False), lean_segmentor(model)):
        seen = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(network.inference(seen, _metas((64, 64))).square().mean(), seen)[0])
    scale = float(gradients[0].abs().max())
    torch.testing.assert_close(gradients[1] / scale, gradients[0] / scale, atol=1e-4, rtol=0)


@torch.no_grad()
def test_batched_windows_give_what_single_windows_give(mmseg_scope):
    model = _segmentor('segformer_efficientnet-lite0.py')
    model.test_cfg = Config(dict(mode='slide', crop_size=(64, 64), stride=(40, 48)))
    images = torch.randn(2, 3, 100, 150)
    for size in ((100, 150), (64, 64), (50, 70)):
        part = images[..., :size[0], :size[1]]
        expected = model.inference(part, _metas(size) * 2)
        found = lean_segmentor(model).inference(part, _metas(size) * 2)
        torch.testing.assert_close(found, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


@torch.no_grad()
def test_norms_are_folded_where_their_place_is_known():
    torch.manual_seed(0)
    class BeforeActivation(nn.Module):  # the norm stands behind the convolution and runs before it
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    odd = BeforeActivation()
    first = ConvModule(4, 4, 3, norm_cfg=NORM, order=('norm', 'act', 'conv'))
    plain = ConvModule(4, 6, 3, norm_cfg=NORM, bias=True).eval()
    nn.init.uniform_(plain.norm.running_mean), nn.init.uniform_(plain.norm.running_var, 0.1, 3)
    images = torch.randn(2, 4, 9, 9)
    expected = plain(images)
    network = nn.ModuleList([odd, first, plain])
    assert fold_norms(network) == 1 and is_folded(plain) and not is_folded(first)
    torch.testing.assert_close(plain(images), expected, atol=1e-6, rtol=1e-6)
    assert isinstance(odd.norm, nn.BatchNorm2d)


@pytest.mark.parametrize('height, width', [(4, 4), (9, 14), (1, 3), (16, 5)])
@torch.no_grad()
def test_winograd_is_the_convolution(height, width):
    torch.manual_seed(1)
    direct = nn.Conv2d(512, 256, 3, padding=1)
    assert fits(direct) and not fits(nn.Conv2d(512, 256, 3, padding=2, dilation=2)) and not fits(nn.Conv2d(64, 64, 3, padding=1))
    maps = torch.randn(2, 512, height, width)
    found = WinogradConvolution(direct)([maps[:, :100], maps[:, 100:]])
    expected = F.conv2d(maps.double(), direct.weight.double(), direct.bias.double(), padding=1)
    assert float((found - expected).abs().max()) < 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize('dilation, height, width', [(6, 13, 20), (18, 7, 30), (2, 8, 8)])
@torch.no_grad()
def test_separable_convolutions_by_phases(dilation, height, width):
    torch.manual_seed(2)
    module = SeparableConv(8, 5, dilation, NORM, dict(type='ReLU')).eval()
    fold_norms(module)
    maps = torch.randn(2, 8, height, width)
    np.testing.assert_allclose(separable_by_phases(maps, module), module(maps), atol=1e-5)
