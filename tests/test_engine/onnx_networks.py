"""Tiny segmentors of every kind that is exported, with random weights that tell classes apart."""
import copy

import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

NORM, LOSS = dict(type='BN'), dict(type='CrossEntropyLoss')
RESNET = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=NORM)
DILATED = dict(RESNET, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1))
MIT = dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
STOCK_MIT = dict(MIT, type='MixVisionTransformer', num_stages=4, patch_sizes=(7, 3, 3, 3), strides=(4, 2, 2, 2),
                 sr_ratios=(8, 4, 2, 1), out_indices=(0, 1, 2, 3), mlp_ratio=4, qkv_bias=True)
COMMON = dict(num_classes=5, norm_cfg=NORM, loss_decode=LOSS)
LAST = dict(COMMON, in_channels=64, in_index=3, channels=8)
LEVELS = dict(COMMON, in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=8)
TOKENS = dict(LEVELS, in_channels=[8] * 4)
STYLE = dict(norm_cfg=NORM, act_cfg=dict(type='ReLU'))


def daformer(levels: dict, **fusion) -> dict:
    return dict(levels, type='DAFormerHead', decoder_params=dict(embed_dims=8, embed_cfg=dict(type='mlp'),
                                                                 fusion_cfg=dict(fusion, **STYLE)))


PHASES = daformer(TOKENS, type='aspp', sep=True, dilations=(1, 6, 12), pool=False)
NETWORKS = dict(
    daformer=(MIT, PHASES),
    daformer_pooled=(RESNET, daformer(LEVELS, type='aspp', sep=True, dilations=(1, 6), pool=True)),
    daformer_isa=(RESNET, daformer(LEVELS, type='isa', isa_channels=8, down_factor=(4, 4), key_query_num_convs=1)),
    segformer=(MIT, dict(TOKENS, type='SegformerHead')),
    segformer_lite=(dict(type='EfficientNetLite', arch='lite0', init_cfg=None),
                    dict(TOKENS, type='LevelwiseSegformerHead', in_channels=[24, 40, 112, 320])),
    segformer_stock=(STOCK_MIT, dict(TOKENS, type='SegformerHead')),
    dlv2=(DILATED, dict(type='DLV2Head', in_channels=64, in_index=3, num_classes=5, dilations=(6, 12),
                        loss_decode=LOSS)),
    deeplabv3=(DILATED, dict(LAST, type='ASPPHead', dilations=(1, 6))),
    deeplabv3plus=(DILATED, dict(LAST, type='DepthwiseSeparableASPPHead', c1_in_channels=8, c1_channels=4,
                                 dilations=(1, 6))),
    upernet=(RESNET, dict(LEVELS, type='UPerHead')),
    psp=(DILATED, dict(LAST, type='PSPHead')),
    ann=(DILATED, dict(COMMON, type='ANNHead', in_channels=[32, 64], in_index=[2, 3], channels=8, project_channels=8)),
    apc=(DILATED, dict(LAST, type='APCHead', pool_scales=(1, 2, 3, 6))),
    fcn=(DILATED, dict(LAST, type='FCNHead', num_convs=1, align_corners=True)),
    da=(DILATED, dict(LAST, type='DAHead', pam_channels=8)),
    dnl=(DILATED, dict(LAST, type='DNLHead')),
    ema=(DILATED, dict(LAST, type='EMAHead', ema_channels=16, num_bases=8, num_stages=3, momentum=0.1)),
    enc=(DILATED, dict(COMMON, type='EncHead', in_channels=[16, 32, 64], in_index=[1, 2, 3], channels=8, num_codes=8,
                       use_se_loss=False)),
    gc=(DILATED, dict(LAST, type='GCHead')),
    binary=(DILATED, dict(LAST, type='FCNHead', num_convs=1, num_classes=2, out_channels=1, threshold=0.5,
                          loss_decode=dict(LOSS, use_sigmoid=True))),
    fpn=(RESNET, dict(LEVELS, type='FPNHead', feature_strides=[4, 8, 16, 32])),
    isa=(DILATED, dict(LAST, type='ISAHead', isa_channels=8, down_factor=(4, 4))),
    dm=(DILATED, dict(LAST, type='DMHead')),
    ham=(RESNET, dict(COMMON, type='LightHamHead', in_channels=[16, 32, 64], in_index=[1, 2, 3], channels=8,
                      ham_channels=8, ham_kwargs=dict(MD_R=4))),
    ocr=(RESNET, [dict(LEVELS, type='FCNHead', input_transform='resize_concat', num_convs=1),
                  dict(LEVELS, type='OCRHead', input_transform='resize_concat', ocr_channels=8)]))
BLOCKS = dict(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
              down_block_types=('DownBlock2D', ) * 2, up_block_types=('UpBlock2D', ) * 2)
LATENT = dict(COMMON, type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7),
              scheduler=dict(type='DDIMScheduler'), denoiser=dict(type='UNet2DModel', add_attention=False, **BLOCKS))
MASKED = dict(condition='mask_attention', mask_encoder=dict(type='ClassEmbeddingMaskEncoder'),
              denoiser=dict(type='UNet2DConditionModel', mid_block_type='UNetMidBlock2D', **BLOCKS))
PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True, size=(64, 64))
WINDOWS = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))


def network(name: str, **options) -> nn.Module:
    """One of :data:`NETWORKS`; options change the segmentor, such as ``test_cfg``."""
    backbone, head = NETWORKS[name]
    cascade = dict(type='CascadeEncoderDecoder', num_stages=2) if isinstance(head, list) else {}
    return _built(dict(cascade, backbone=backbone, decode_head=head), options)


def diffusing(head: dict, **options) -> nn.Module:
    """A network with a latent diffusion head, of which ``head`` is changed."""
    neck = dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                skip_channels=(6, 5))
    return _built(dict(backbone=RESNET, neck=neck, decode_head={**LATENT, **head}), options)


def two_scales(**options) -> nn.Module:
    """HRDA with windows of 32 and a DAFormer head."""
    head = dict(PHASES, type='HRDAHead', single_scale_head='DAFormerHead', attention_embed_dim=8, hr_loss_weight=0.1)
    return _built(dict(type='HRDAEncoderDecoder', hr_crop_size=(32, 32), backbone=MIT, decode_head=head), options)


def _built(config: dict, options: dict) -> nn.Module:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    common = dict(type='EncoderDecoder', data_preprocessor=PREPROCESSOR, train_cfg=dict(), test_cfg=dict(mode='whole'))
    built = MODELS.build(ConfigDict(copy.deepcopy({**common, **config, **options}))).eval()
    for module in built.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.Conv2d) and module.out_channels == 5:
            module.weight.data.normal_(0, 0.5)
    _balance(built)
    return built


def _balance(segmentor: nn.Module) -> None:
    """Shifts the classes so that none of them is everywhere."""
    head = segmentor.decode_head
    classifier = getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'conv_seg', None)
    if isinstance(classifier, nn.Conv2d):
        size = (96, 96)
        with torch.no_grad():
            logits = segmentor.encode_decode(torch.randn(1, 3, *size), [dict(img_shape=size, pad_shape=size)])
            classifier.bias.data -= logits.mean(dim=(0, 2, 3))
