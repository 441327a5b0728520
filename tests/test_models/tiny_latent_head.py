"""A latent diffusion head with a tiny real UNet of diffusers, in every mode, and what goes into it."""
import copy

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_cicld  # noqa: F401

CLASSES, SIZE = 5, 32
UNET = dict(type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, add_attention=False,
            down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))
MASKED_UNET = dict(type='UNet2DConditionModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
                   down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'),
                   mid_block_type='UNetMidBlock2D')
EMBEDDED = dict(type='ClassEmbeddingMaskEncoder')
COLOURED = dict(type='ColourMaskEncoder', backbone_channels=32, render_size=(32, 32),
                palette=[(50 * i, 0, 9) for i in range(CLASSES)],
                backbone=dict(type='ResNetV1c', depth=18, stem_channels=4, base_channels=4))
HEAD = dict(type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=CLASSES,
            dropout_ratio=0, denoiser=UNET, scheduler=dict(type='DDIMScheduler'),
            loss_decode=dict(type='CrossEntropyLoss'))
MASKED = dict(denoiser=MASKED_UNET, condition='mask_attention')
MODES = dict(
    image={},
    image_concat=dict(condition='concat'),
    bypassed=dict(inference=dict(steps=0)),
    three_steps=dict(inference=dict(steps=3, start=299)),
    zero_noise=dict(inference=dict(noise='zero')),
    label=dict(diffused='label', condition='concat'),
    spread_label=dict(diffused='label', condition='concat', training=dict(class_codes='spread', correction=0.1),
                      scheduler=dict(type='DDIMScheduler', prediction_type='v_prediction')),
    switch=dict(denoiser=dict(UNET, num_class_embeds=2)),
    mask=dict(MASKED, mask_encoder=EMBEDDED),
    colour_mask=dict(MASKED, mask_encoder=COLOURED),
    two_passes=dict(MASKED, mask_encoder=EMBEDDED, inference=dict(condition='prediction')),
    no_denoiser=dict(denoiser=None))


def build(**changes):
    torch.manual_seed(0)
    head = MODELS.build({**copy.deepcopy(HEAD), **copy.deepcopy(changes)})
    if changes.get('denoiser', UNET) is not None:  # UNets of diffusers start with an output of almost zero
        for parameter in head.denoiser.unet.conv_out.parameters():
            parameter.data.mul_(20)
    return head


def segmentor(**head):
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                  skip_channels=(6, 5)),
        decode_head={**copy.deepcopy(HEAD), **copy.deepcopy(head)}, train_cfg=dict(), test_cfg=dict(mode='whole')))
    built.train(False)
    return built


def two_scale_segmentor(**head):
    torch.manual_seed(0)
    head = {**copy.deepcopy(HEAD), **copy.deepcopy(head)}
    return MODELS.build(ConfigDict(
        type='HRDAEncoderDecoder', hr_crop_size=(SIZE, SIZE),
        backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
                  skip_channels=(6, 5)),
        decode_head=dict(head, type='HRDAHead', single_scale_head='LatentDiffusionHead', hr_loss_weight=0.1,
                         attention_embed_dim=3),
        train_cfg=dict(), test_cfg=dict(mode='whole')))


def features(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size, size, generator=generator)
            for channels, size in zip((6, 5, 4), (SIZE // 4, SIZE // 8, SIZE // 8))]


def samples(batch=2, value=None):
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(batch):
        label = torch.randint(0, CLASSES, (1, SIZE, SIZE), generator=generator)
        label[:, :4] = 255
        label = label if value is None else torch.full_like(label, value)
        made.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(
            img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE))))
    return made


def labels(batch=2):
    return torch.cat([sample.gt_sem_seg.data for sample in samples(batch)])


def keyed_losses(head, inputs, weights=None):
    """Losses of the tiny samples with the seeds 11 and 12."""
    return head.training_losses(inputs, labels(), weights, (11, 12))[0]


def grad(part):
    return sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
