"""Tiny real segmentors with random weights, which read 5 classes; HRDA from images of 64 pixels."""
import copy

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

CLASSES = 5
NORM, LOSS = dict(type='BN'), dict(type='CrossEntropyLoss')
PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True)
MIT = dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
           drop_path_rate=0.1)
RESNET = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=NORM)
COMMON = dict(num_classes=CLASSES, channels=8, dropout_ratio=0.1, norm_cfg=NORM, loss_decode=LOSS)
SEGFORMER = dict(COMMON, type='SegformerHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3])
SEGMENTORS = dict(
    segformer=dict(type='EncoderDecoder', backbone=MIT, decode_head=SEGFORMER),
    deeplabv3plus=dict(type='EncoderDecoder', backbone=RESNET, decode_head=dict(
        COMMON, type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3, dilations=(1, 2), c1_in_channels=8,
        c1_channels=4)),
    cascade=dict(type='CascadeEncoderDecoder', num_stages=2, backbone=RESNET, decode_head=[
        dict(COMMON, type='FCNHead', in_channels=64, in_index=3, num_convs=1),
        dict(COMMON, type='OCRHead', in_channels=64, in_index=3, ocr_channels=4)]),
    hrda=dict(type='HRDAEncoderDecoder', hr_crop_size=(32, 32), backbone=MIT, decode_head=dict(
        SEGFORMER, type='HRDAHead', single_scale_head='SegformerHead', hr_loss_weight=0.1)),
    latent_diffusion=dict(
        type='EncoderDecoder', backbone=RESNET,
        neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                  skip_channels=(6, 5)),
        decode_head=dict(type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7),
                         num_classes=CLASSES, dropout_ratio=0.1, scheduler=dict(type='DDIMScheduler'),
                         loss_decode=LOSS, inference=dict(steps=2), denoiser=dict(
                             type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
                             add_attention=False, down_block_types=('DownBlock2D', ) * 2,
                             up_block_types=('UpBlock2D', ) * 2))))


def tiny_segmentor(name='segformer', seed=0, **changes):
    """Builds one in training mode; ``changes`` are of its config."""
    torch.manual_seed(seed)
    config = copy.deepcopy(dict(data_preprocessor=PREPROCESSOR, test_cfg=dict(mode='whole')) | SEGMENTORS[name])
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(ConfigDict(config | changes))


def block_labels(batch=2, size=32, block=8, seed=1):
    """Draws labels of square blocks."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES, (batch, size // block, size // block), generator=generator)
    return blocks.repeat_interleave(block, 1).repeat_interleave(block, 2)
