"""Tiny real segmentors and batches for the tests of the training signals."""
import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

init_default_scope('mmseg')

NORM = dict(type='BN', requires_grad=True)
PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(64, 64))
MIT = dict(type='MixVisionTransformer', in_channels=3, embed_dims=8, num_stages=4, num_layers=[1, 1, 1, 1],
           num_heads=[1, 2, 4, 8], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
           mlp_ratio=2, qkv_bias=True, drop_rate=0.0, attn_drop_rate=0.0, drop_path_rate=0.1)
RESNET = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
              dilations=(1, 1, 1, 1), strides=(1, 2, 2, 2), norm_cfg=NORM, norm_eval=False, style='pytorch')
HEAD = dict(channels=16, num_classes=19, norm_cfg=NORM, align_corners=False, dropout_ratio=0.1,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0))
# timm's ViT comes with mmseg too; a neck makes levels of four strides of it.
VIT = dict(type='VisionTransformer', img_size=(64, 64), embed_dims=16, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3),
           norm_cfg=dict(type='LN', eps=1e-6), interpolate_mode='bicubic')
TIMM_VIT = dict(type='TIMMBackbone', model_name='vit_tiny_patch16_224', pretrained=False, img_size=64, depth=4,
                embed_dim=16, num_heads=2, out_indices=(0, 1, 2, 3), dynamic_img_size=True)
PYRAMID = dict(type='Feature2Pyramid', embed_dim=16, rescales=[4, 2, 1, 0.5], norm_cfg=NORM)
FCN = dict(HEAD, type='FCNHead', in_channels=32, in_index=2, num_convs=1, concat_input=False)
UNET = dict(type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, add_attention=False,
            down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))

HEADS = dict(
    segformer=(MIT, dict(HEAD, type='SegformerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3]), None),
    deeplabv3plus=(RESNET, dict(HEAD, type='DepthwiseSeparableASPPHead', in_channels=64, in_index=3,
                                dilations=(1, 2), c1_in_channels=8, c1_channels=4), None),
    upernet=(RESNET, dict(HEAD, type='UPerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3],
                          pool_scales=(1, 2)), None),
    vit=(VIT, dict(HEAD, type='SegformerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3]), None),
    timm_vit=(TIMM_VIT, dict(HEAD, type='SegformerHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3]), None),
    auxiliary=(RESNET, dict(FCN, in_channels=64, in_index=3), [FCN, dict(FCN, in_channels=16, in_index=1)]))


@pytest.fixture
def segmentor():
    """Gives the config of a tiny segmentor by name."""

    def build(name: str = 'segformer', **head) -> dict:
        backbone, decode_head, auxiliary_head = copy.deepcopy(HEADS[name])
        decode_head.update(head)
        config = dict(type='EncoderDecoder', data_preprocessor=copy.deepcopy(PREPROCESSOR), backbone=backbone,
                      decode_head=decode_head, auxiliary_head=auxiliary_head, train_cfg=dict(),
                      test_cfg=dict(mode='whole'))
        if 'vit' in name:
            config['neck'] = copy.deepcopy(PYRAMID)
        return config

    return build


@pytest.fixture
def diffusing(segmentor):
    """Gives the config of a tiny segmentor with a latent of 4 channels at stride 8; ``denoiser`` changes its UNet."""

    def build(denoiser: dict | None = {}, **head) -> dict:
        config = segmentor('upernet')
        config['neck'] = dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                              skip_channels=(6, 5))
        config['decode_head'] = dict(
            type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=19, dropout_ratio=0,
            scheduler=dict(type='DDIMScheduler'), loss_decode=dict(type='CrossEntropyLoss'),
            denoiser=None if denoiser is None else dict(UNET, **denoiser), **head)
        return config

    return build


@pytest.fixture
def batch():
    """Gives a batch as the dataloader does: raw images and block-wise labels, target without labels."""

    def build(seed: int = 0, size: int = 64, images: int = 2, classes: int = 19) -> dict:
        generator = torch.Generator().manual_seed(seed)
        out = {}
        for domain in ('source', 'target'):
            inputs, samples = [], []
            for index in range(images):
                inputs.append(torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8))
                sample = SegDataSample(metainfo=dict(img_path=f'{domain}_{index}.png', img_shape=(size, size),
                                                     ori_shape=(size, size)))
                if domain == 'source':
                    label = torch.randint(0, classes, (1, size // 16, size // 16), generator=generator)
                    label = label.repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
                    sample.gt_sem_seg = PixelData(data=label)
                samples.append(sample)
            out[domain] = dict(inputs=inputs, data_samples=samples)
        return out

    return build


@pytest.fixture
def hrda(segmentor):
    """A tiny two-scale segmentor: SegFormer with crops of 32 in images of 64."""
    config = segmentor()
    config.update(type='HRDAEncoderDecoder', hr_crop_size=(32, 32))
    config['decode_head'].update(type='HRDAHead', single_scale_head='SegformerHead', hr_loss_weight=0.1)
    return config
