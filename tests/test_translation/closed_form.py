"""Models whose guided translation is known in closed form: Gaussian data, and segmentors that are linear.

Shape suffixes: B images, D numbers of an image (channels times pixels).
"""
from types import SimpleNamespace

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.models.diffusion.noising import Noising
from mmseg_cicld.translation import ImageDiffusion, SegmentationGuide

SIZE = (2, 3)
NUMBERS = 3 * SIZE[0] * SIZE[1]


class GaussianUNet(nn.Module):
    """Knows the data to be normal with a mean and a covariance, and predicts what follows from a noisy image exactly.

    Given x = a x_0 + s eps, the mean of x_0 is m + a C (a^2 C + s^2)^-1 (x - a m).
    """

    def __init__(self, mean_D, covariance_DD, scheduler):
        super().__init__()
        self.config = SimpleNamespace(in_channels=3, out_channels=3, block_out_channels=(1, ))
        self.mean_D, self.covariance_DD, self.trained = mean_D, covariance_DD, Noising(scheduler)

    def forward(self, noisy_B3HW, times_B):
        noising = self.trained.at_times(times_B[:1])
        signal, noise = noising.signal_T[0], noising.noise_T[0]
        noisy_BD = noisy_B3HW.flatten(1)
        inverse_DD = torch.linalg.inv(signal**2 * self.covariance_DD + noise**2 * torch.eye(len(self.mean_D)))
        gain_DD = signal * self.covariance_DD @ inverse_DD
        clean_BD = self.mean_D + (noisy_BD - signal * self.mean_D) @ gain_DD.to(noisy_BD).T
        clean = clean_BD.view_as(noisy_B3HW)
        steps_B = torch.zeros(len(times_B), dtype=torch.long)
        return SimpleNamespace(sample=noising.target(clean, (noisy_B3HW - signal * clean) / noise, steps_B))


def covariance(deviation=0.15, seed=3):
    """A covariance of all numbers of an image with one another."""
    torch.manual_seed(seed)
    root_DD = torch.eye(NUMBERS) + 0.3 * torch.randn(NUMBERS, NUMBERS)
    return deviation**2 * root_DD @ root_DD.T / 2


def gaussian_diffusion(covariance_DD, mean=0.1, prediction_type='epsilon', timesteps=100):
    """The exact diffusion model of normal data; ``prediction_type='flow'`` is flow matching."""
    if prediction_type == 'flow':
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=timesteps)
    else:
        scheduler = DDPMScheduler(num_train_timesteps=timesteps, prediction_type=prediction_type,
                                  beta_start=0.1 / timesteps, beta_end=20 / timesteps)
    unet = GaussianUNet(torch.full((NUMBERS, ), mean), covariance_DD, scheduler)
    return ImageDiffusion(unet, dict(scheduler.config, _class_name=type(scheduler).__name__))


class Pixels(nn.Module):
    """A backbone that looks at each pixel, or at windows of three by three."""

    def __init__(self, window):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, window, padding=window // 2)

    def forward(self, images):
        return (self.convolution(images), )


def linear_guide(window=1, classes=4, seed=5, bias=None):
    """A segmentor with logits linear in the image, which its normalisation leaves as it is (RGB in [-1, 1])."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        if 'LinearPixels' not in MODELS:
            MODELS.register_module(name='LinearPixels', module=Pixels)
        segmentor = MODELS.build(ConfigDict(
            type='EncoderDecoder', backbone=dict(type='LinearPixels', window=window),
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True),
            decode_head=dict(type='FCNHead', in_channels=3, channels=3, in_index=0, num_convs=0, concat_input=False,
                             num_classes=classes, dropout_ratio=0, loss_decode=dict(type='CrossEntropyLoss')),
            test_cfg=dict(mode='whole')))
    nn.init.normal_(segmentor.decode_head.conv_seg.weight)
    if bias is not None:
        segmentor.decode_head.conv_seg.bias.data.copy_(torch.tensor(bias))
    return SegmentationGuide(segmentor)
