"""The decode heads: forms of the DAFormer head, and the DeepLabV2 head."""
import pytest
import torch
from mmcv.cnn import DepthwiseSeparableConvModule
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from mmseg_cicld.models.decode_heads.fusion_layers import SeparableConv

NORM, ACT = dict(type='BN'), dict(type='ReLU')
SEP_ASPP = dict(type='aspp', sep=True, dilations=(1, 6, 12, 18), pool=False, norm_cfg=NORM, act_cfg=ACT)
CONV1 = dict(type='conv', kernel_size=1, norm_cfg=NORM, act_cfg=ACT)
FUSIONS = dict(
    sep_aspp=SEP_ASPP,
    aspp=dict(SEP_ASPP, sep=False),
    pooled=dict(SEP_ASPP, pool=True),
    conv=CONV1,
    sep_conv=dict(type='sep_conv', kernel_size=3, norm_cfg=NORM, act_cfg=ACT),
    isa=dict(type='isa', isa_channels=8, down_factor=(8, 8), key_query_num_convs=1, norm_cfg=NORM, act_cfg=ACT))


def daformer_head(fusion_cfg=SEP_ASPP, **options):
    params = dict(embed_dims=8, embed_cfg=dict(type='mlp'), fusion_cfg=fusion_cfg) | options.pop('params', {})
    return MODELS.build(dict(type='DAFormerHead', in_channels=[2, 4, 6], in_index=[0, 1, 3], channels=8,
                             num_classes=5, norm_cfg=NORM, decoder_params=params) | options)


def features(dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(2, c, *size, dtype=dtype) for c, size in ((2, (19, 26)), (4, (10, 13)), (9, (5, 7)),
                                                                 (6, (3, 4)))]


@pytest.mark.parametrize('name', FUSIONS)
def test_every_fusion_trains(name):
    head = daformer_head(FUSIONS[name])
    logits = head(features())
    assert logits.shape == (2, 5, 19, 26)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_last_level_may_have_an_embedding_of_its_own():
    head = daformer_head(CONV1, params=dict(embed_neck_cfg=dict(SEP_ASPP, type='rawconv_and_aspp', kernel_size=1)))
    names = set(head.state_dict())
    assert {'embed_layers.2.0.weight', 'embed_layers.2.1.bottleneck.conv.weight', 'embed_layers.0.proj.bias'} <= names
    assert head(features()).shape == (2, 5, 19, 26)


def test_tensors_have_the_published_names_and_shapes():
    shapes = {name: tuple(tensor.shape) for name, tensor in daformer_head().state_dict().items()
              if name.endswith(('weight', 'bias')) and '.bn.' not in name}
    expected = {'conv_seg.weight': (5, 8, 1, 1), 'conv_seg.bias': (5, )}
    for level, channels in enumerate((2, 4, 6)):
        expected |= {f'embed_layers.{level}.proj.weight': (8, channels), f'embed_layers.{level}.proj.bias': (8, )}
    expected['fuse_layer.aspp_modules.0.conv.weight'] = (8, 24, 1, 1)
    for branch in (1, 2, 3):
        expected[f'fuse_layer.aspp_modules.{branch}.depthwise_conv.conv.weight'] = (24, 1, 3, 3)
        expected[f'fuse_layer.aspp_modules.{branch}.pointwise_conv.conv.weight'] = (8, 24, 1, 1)
    expected['fuse_layer.bottleneck.conv.weight'] = (8, 32, 3, 3)
    assert shapes == expected


def test_initialisation_of_the_classifier_is_small_and_norms_are_plain():
    head = daformer_head()
    head.init_weights()
    assert float(head.conv_seg.weight.std()) < 0.02 and not head.conv_seg.bias.any()
    norms = [module for module in head.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(type(norm) is nn.BatchNorm2d for norm in norms)


@pytest.mark.parametrize('options, message', [
    (dict(align_corners=True), 'align_corners must be False'),
    (dict(params=dict(wings=2)), "unknown \\['wings'\\]"),
    (dict(fusion_cfg=dict(type='magic')), "decoder_params.fusion_cfg.type is 'magic', must be one of"),
    (dict(fusion_cfg=dict(CONV1, rate=2)), "fusion_cfg of type 'conv' does not fit"),
])
def test_wrong_config_names_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        daformer_head(**options)


def test_separable_branch_equals_that_of_mmcv():
    ours, stock = SeparableConv(6, 4, 6, NORM, ACT), DepthwiseSeparableConvModule(6, 4, 3, padding=6, dilation=6,
                                                                                 norm_cfg=NORM, act_cfg=ACT)
    stock.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 6, 19, 26, dtype=torch.float64)
    assert torch.allclose(ours.double()(x), stock.double()(x), rtol=0, atol=1e-12)


def test_autocast_of_a_whole_head():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = daformer_head()(features())
    assert logits.dtype == torch.bfloat16 and bool(logits.isfinite().all())
    logits.float().square().sum().backward()


@pytest.mark.parametrize('dilations', [(6, 12), (6, 12, 18, 24)])
def test_deeplabv2_sums_its_branches(dilations):
    head = MODELS.build(dict(type='DLV2Head', in_channels=6, in_index=1, num_classes=5, dilations=dilations))
    head.init_weights()
    state = head.state_dict()
    assert sorted(state) == sorted(f'aspp_modules.{i}.conv.{kind}' for i in range(len(dilations))
                                   for kind in ('weight', 'bias'))
    assert all(0.005 < float(value.std()) < 0.015 for name, value in state.items() if name.endswith('weight'))
    x = torch.randn(2, 6, 9, 11)
    expected = sum(F.conv2d(x, state[f'aspp_modules.{i}.conv.weight'], state[f'aspp_modules.{i}.conv.bias'], padding=d,
                            dilation=d) for i, d in enumerate(dilations))
    assert torch.allclose(head([None, x]), expected, atol=1e-6)
    assert not [module for module in head.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]


def test_logits_of_the_daformer_head_are_enlarged_without_aligned_corners():
    head = daformer_head().eval()
    with torch.no_grad():
        logits = head(features())
        enlarged = head.predict(features(), [dict(img_shape=(38, 52))] * 2, {})
    torch.testing.assert_close(enlarged, F.interpolate(logits, size=(38, 52), mode='bilinear', align_corners=False))


def test_deeplabv2_refuses_keys_without_meaning():
    with pytest.raises(ValueError, match='decode_head.dropout_ratio has no meaning'):
        MODELS.build(dict(type='DLV2Head', in_channels=6, num_classes=5, dropout_ratio=0.1))


def test_adapter_replaces_the_last_level():
    neck = MODELS.build(dict(type='SegFormerAdapter', out_layers=[1, 3], scales=[1, 4]))
    levels = [torch.randn(1, c, s, s) for c, s in ((2, 16), (4, 8), (6, 4), (8, 2))]
    adapted = neck(levels)
    assert [tuple(level.shape[1:]) for level in adapted] == [(2, 16, 16), (4, 8, 8), (6, 4, 4), (12, 8, 8)]
    assert torch.equal(adapted[3][:, :4], levels[1])
    with pytest.raises(ValueError, match='one scale for each layer'):
        MODELS.build(dict(type='SegFormerAdapter', out_layers=[1, 3], scales=[1]))
