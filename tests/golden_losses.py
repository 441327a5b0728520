"""Golden losses: what every method logs over a few steps of a tiny model, in float64.

``python tests/golden_losses.py`` writes the files of ``tests/golden`` again. Do that only for a change that is meant
to change results, and say so in its commit message.
"""
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_cicld  # noqa: F401

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'tests' / 'golden'
STEPS = 6
SIZE = 64
NORM = dict(type='BN', requires_grad=True)
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, size=(SIZE, SIZE)),
    backbone=dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)),
    decode_head=dict(
        type='DAFormerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16, dropout_ratio=0.1,
        num_classes=19, norm_cfg=NORM, align_corners=False,
        decoder_params=dict(embed_dims=16, embed_cfg=dict(type='mlp'), fusion_cfg=dict(
            type='aspp', sep=True, dilations=(1, 2, 3), pool=False, norm_cfg=NORM, act_cfg=dict(type='ReLU'))),
        loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
# Twice the size: context and detail have the size of the others' images, the detail has eight places a side.
HRDA_SIZE = 2 * SIZE
HRDA_SEGMENTOR = dict(
    SEGMENTOR, type='HRDAEncoderDecoder', hr_crop_size=(SIZE, SIZE),
    data_preprocessor=dict(SEGMENTOR['data_preprocessor'], size=(HRDA_SIZE, HRDA_SIZE)),
    decode_head=dict(SEGMENTOR['decode_head'], type='HRDAHead', single_scale_head='DAFormerHead',
                     attention_embed_dim=16, hr_loss_weight=0.1))
UNET = dict(type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, add_attention=False,
            down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))
DIFFUSING = dict(
    neck=dict(type='InterCoderNeck', in_channels=(8, 16, 32, 64), latent_channels=4, latent_index=1,
              skip_channels=(6, 5)),
    decode_head=dict(
        type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=19, dropout_ratio=0.1,
        denoiser=UNET, scheduler=dict(type='DDIMScheduler'), loss_decode=dict(type='CrossEntropyLoss')))


def methods() -> list[str]:
    """Names of all methods: the files of ``configs/_base_/uda``."""
    return sorted(path.stem for path in (ROOT / 'configs/_base_/uda').glob('*.py'))


def run(method: str) -> list[str]:
    """Trains a few steps and returns a line a step, ``key=value`` in order of the keys."""
    init_default_scope('mmseg')
    config = Config.fromfile(ROOT / f'configs/_base_/uda/{method}.py')
    objectives = copy.deepcopy(config.objectives)
    segmentor, size, threshold = (HRDA_SEGMENTOR, HRDA_SIZE, 0.1) if 'hrda' in method else (SEGMENTOR, SIZE, 0.15)
    if 'cicld' in method:
        segmentor = _diffusing(segmentor, method)
    for objective in objectives:  # published values are for crops of 512 rows or more and trained networks
        if 'block' in objective:
            objective.block = 16
        if 'degradation' in objective and 'block' in objective.degradation:
            objective.degradation.block = 16
        if objective.type == 'MaskedRepresentationModeling':
            objective.update(cell=16, width=16, heads=2)
        if objective.type == 'BalancedLogits':
            objective.update(min_pixels=200, warmup=3)
        if 'weights' in objective:  # plain SGD does not stand the published weight of the reconstruction
            objective.weights = (0.5, 0.1)
        if 'threshold' in objective:
            objective.threshold = threshold
            objective.update({key: 8 for key in ('ignore_top', 'ignore_bottom') if key in objective})
        if objective.get('feature_distance'):
            objective.feature_distance.min_ratio = 0.25
        if objective.get('mixing'):
            objective.mixing.threshold = threshold
        if 'network' in objective:
            objective.network = copy.deepcopy(SEGMENTOR['backbone'])
            objective.update(out_channels=64, size=(SIZE, SIZE))
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=copy.deepcopy(segmentor), objectives=objectives,
                              teacher=config.teacher, train_only=config.get('train_only'))).double().train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = OptimWrapper(torch.optim.SGD(trained, lr=0.05, momentum=0.9))
    lines = []
    for step in range(STEPS):
        log = model.train_step(_batch(step, size), optimiser)
        lines.append(' '.join(f'{key}={float(log[key]):.12g}' for key in sorted(log)))
    return lines


ONE_STEP = dict(timesteps='start', noise='zero', noise_loss_weight=0.0)
# What the denoiser is to restore is not noise: the head adds none, and takes one step from the middle of the schedule.
WITHOUT_NOISE = dict(
    cicld_restoration=dict(training=dict(ONE_STEP, denoiser_learns_task=True)),
    cicld_reconstruction=dict(training=dict(ONE_STEP, denoiser_learns_task=True), denoiser=dict(UNET, num_class_embeds=2)),
    cicld_masked=dict(training=dict(ONE_STEP, decoder_input='latent', prediction_steps=0)))


def _diffusing(segmentor: dict, method: str) -> dict:
    head = DIFFUSING['decode_head']
    if method in WITHOUT_NOISE:
        head = dict(head, **WITHOUT_NOISE[method], inference=dict(start=249, noise='zero'))
    if segmentor is HRDA_SEGMENTOR:
        head = dict(head, type='HRDAHead', single_scale_head=head['type'], hr_loss_weight=0.1)
    return dict(segmentor, neck=DIFFUSING['neck'], decode_head=head)


def _batch(step: int, size: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    batch: dict = {}
    for domain in ('source', 'target'):
        samples = []
        for _ in range(2):
            sample = SegDataSample(metainfo=dict(img_path='golden', img_shape=(size, size), ori_shape=(size, size)))
            if domain == 'source':
                blocks = torch.randint(0, 19, (1, 4, 4), generator=generator)
                label = blocks.repeat_interleave(size // 4, dim=1).repeat_interleave(size // 4, dim=2)
                sample.gt_sem_seg = PixelData(data=label)
            samples.append(sample)
        inputs = [torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8) for _ in range(2)]
        batch[domain] = dict(inputs=inputs, data_samples=samples)
    return batch


if __name__ == '__main__':
    torch.set_num_threads(1)
    for name in methods():
        (FOLDER / f'{name}.txt').write_text('\n'.join(run(name)) + '\n')
        print(f'wrote {FOLDER / name}.txt')
