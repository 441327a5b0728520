"""Degradations with levels, as bridges between domains (DiDA, Li et al., NeurIPS 2025).

Each takes normalised images, a level in 0, ..., T - 1 and a seed for each image, and gives the degraded images with
what a network is to restore from them. Level 0 is nearly clean, level T - 1 has almost nothing left. Numbers are drawn
on the CPU from a generator for each image, so a batch can be split over processes.

Shape suffixes: B images, C channels, H and W image size, h and w a coarser grid, T levels, N frequencies.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from .schedules import alpha_bars


class Degraded(NamedTuple):
    """Degraded images and the target of their reconstruction, both float [B, C, H, W]."""

    images_BCHW: Tensor
    target_BCHW: Tensor


@MODELS.register_module()
class NoiseDegradation:
    """Gaussian noise: ``sqrt(a) x + sqrt(1 - a) noise`` with a of :func:`alpha_bars`. The noise is to be restored.

    Args:
        steps: Number T of levels.
        schedule: Of :func:`alpha_bars`.
        noise_stride: Noise is drawn on a grid this much coarser than the image and stretched bilinearly: 1 as in the
            paper's formula, 4 as in its released code. Stretched noise hides shapes where white noise hides texture;
            its variance is less than one (0.43 for 4).

    Raises:
        ValueError: If a value is out of its range; on use, if the image is no multiple of ``noise_stride``.
    """

    def __init__(self, steps: int = 100, schedule: str = 'sigmoid', noise_stride: int = 1) -> None:
        if noise_stride < 1:
            raise ValueError(f'noise_stride={noise_stride} of NoiseDegradation, allowed are numbers from 1 on')
        self.steps, self.target_stride = steps, noise_stride
        self.alpha_bars = alpha_bars(steps, schedule)

    def __call__(self, images_BCHW: Tensor, levels: Sequence[int], seeds: Sequence[int]) -> Degraded:
        """Degrades images; the target is the drawn noise, each of its values repeated over its cell."""
        _check(images_BCHW, levels, seeds, self.steps)
        channels, *size = images_BCHW.shape[1:]
        if any(side % self.target_stride for side in size):
            raise ValueError(f'images of size {tuple(size)} are no multiple of noise_stride={self.target_stride}: '
                             'change noise_stride of NoiseDegradation or the crop size of the training pipelines')
        noise_BChw = _normal(seeds, (channels, *(side // self.target_stride for side in size))).to(images_BCHW)
        noise_BCHW = F.interpolate(noise_BChw, size=size, mode='bilinear', align_corners=False)
        left_B111 = _per_image(self.alpha_bars, levels, images_BCHW)
        return Degraded(left_B111.sqrt() * images_BCHW + (1 - left_B111).sqrt() * noise_BCHW,
                        F.interpolate(noise_BChw, size=size, mode='nearest'))


@MODELS.register_module()
class BlurDegradation:
    """Gaussian blurs on top of each other: level t has been through t + 1 of them. The clean image is to be restored.

    Kernel i has the standard deviation ``exp(growth * i)`` pixels; borders are mirrored. As kernels and borders are
    symmetric, all blurs of a level are one multiplication in the frequencies of the mirrored image.

    Args:
        steps: Number T of levels.
        kernel_size: Side of each kernel in pixels, odd.
        growth: Growth of the standard deviation's logarithm from kernel to kernel.

    Raises:
        ValueError: If a value is out of its range.
    """

    target_stride = 1

    def __init__(self, steps: int = 100, kernel_size: int = 31, growth: float = 0.02) -> None:
        if steps < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'BlurDegradation got steps={steps}, kernel_size={kernel_size}: there is at least one '
                             'step, and a kernel has an odd number of pixels')
        self.steps = steps
        self.half_kernels = torch.stack([
            half_gaussian(kernel_size, sigma) for sigma in (growth * torch.arange(steps).double()).exp().tolist()])

    def __call__(self, images_BCHW: Tensor, levels: Sequence[int], seeds: Sequence[int]) -> Degraded:
        """Degrades images; nothing is drawn, so seeds do not matter."""
        _check(images_BCHW, levels, seeds, self.steps)
        blurred_BCHW = images_BCHW
        for dim in (2, 3):
            responses_TN = frequency_response(self.half_kernels, images_BCHW.shape[dim]).cumprod(dim=0)
            blurred_BCHW = filter_mirrored(blurred_BCHW, responses_TN[list(levels)].to(images_BCHW), dim)
        return Degraded(blurred_BCHW, images_BCHW)


@MODELS.register_module()
class MaskDegradation:
    """Parts of the image become zero, the mean colour; the clean image is to be restored.

    The kept share follows the schedule.

    Args:
        steps: Number T of levels.
        schedule: Of :func:`alpha_bars`, whose values are the kept shares.
        shape: ``'block'`` hides squares, ``'blob'`` smooth shapes: the lowest values of blurred noise are kept.
        block: Side of a square in pixels.
        sigma: Standard deviation of the blur of the noise in pixels; its kernel has 33 pixels at 6, as in DiDA's
            released code, and in proportion for others.

    Raises:
        ValueError: If a value is out of its range; on use, if the image is smaller than a square.
    """

    target_stride = 1

    def __init__(self, steps: int = 100, schedule: str = 'sigmoid', shape: str = 'block', block: int = 32,
                 sigma: float = 6.0) -> None:
        if shape not in ('block', 'blob'):
            raise ValueError(f"MaskDegradation got shape='{shape}', allowed are 'block' and 'blob'")
        if block < 1 or sigma <= 0:
            raise ValueError(f'MaskDegradation got block={block}, sigma={sigma}: both have to be positive')
        self.steps, self.shape, self.block = steps, shape, block
        self.alpha_bars = alpha_bars(steps, schedule)
        self.half_kernel = half_gaussian(2 * round(16 / 6 * sigma) + 1, sigma)

    def __call__(self, images_BCHW: Tensor, levels: Sequence[int], seeds: Sequence[int]) -> Degraded:
        """Degrades images."""
        _check(images_BCHW, levels, seeds, self.steps)
        size = tuple(images_BCHW.shape[2:])
        values_B1hw = self._blocks(size, seeds) if self.shape == 'block' else self._blobs(size, seeds, images_BCHW)
        kept_B1hw = lowest(values_B1hw.to(images_BCHW), self.alpha_bars[list(levels)])
        mask_B1HW = F.interpolate(kept_B1hw.to(images_BCHW), size=size, mode='nearest')
        return Degraded(images_BCHW * mask_B1HW, images_BCHW)

    def _blocks(self, size: tuple[int, int], seeds: Sequence[int]) -> Tensor:
        grid = [round(side / self.block) for side in size]
        if min(grid) < 1:
            raise ValueError(f'images of size {size} have no room for squares of {self.block}: lower block of '
                             'MaskDegradation or raise the crop size of the training pipelines')
        return _normal(seeds, (1, *grid))

    def _blobs(self, size: tuple[int, int], seeds: Sequence[int], images_BCHW: Tensor) -> Tensor:
        values_B1HW = _normal(seeds, (1, *size)).to(images_BCHW)
        for dim in (2, 3):
            response_1N = frequency_response(self.half_kernel[None], size[dim - 2]).to(images_BCHW)
            values_B1HW = filter_mirrored(values_B1HW, response_1N, dim)
        return values_B1HW


@MODELS.register_module()
class MixedDegradation:
    """Draws one of several degradations for each image.

    Args:
        degradations: Their configs, with equal ``steps``. Targets of reconstruction are those of each; where one's is
            coarser, all are restored as coarsely.

    Raises:
        ValueError: If there is none, or their steps differ.
    """

    def __init__(self, degradations: Sequence[dict]) -> None:
        self.degradations = [MODELS.build(config) for config in degradations]
        steps = {degradation.steps for degradation in self.degradations}
        if len(steps) != 1:
            raise ValueError(f'MixedDegradation got degradations of {sorted(steps)} steps: give at least one, and the '
                             'same number of steps to all')
        self.steps = steps.pop()
        self.target_stride = max(degradation.target_stride for degradation in self.degradations)

    def __call__(self, images_BCHW: Tensor, levels: Sequence[int], seeds: Sequence[int]) -> Degraded:
        """Degrades images; the seed of an image chooses its degradation and gives it a seed."""
        _check(images_BCHW, levels, seeds, self.steps)
        parts = []
        for image_1CHW, level, seed in zip(images_BCHW.split(1), levels, seeds):
            generator = torch.Generator().manual_seed(seed)
            choice = int(torch.randint(len(self.degradations), (), generator=generator))
            own_seed = int(torch.randint(2**62, (), generator=generator))
            parts.append(self.degradations[choice](image_1CHW, [level], [own_seed]))
        return Degraded(*(torch.cat(tensors) for tensors in zip(*parts)))


def half_gaussian(size: int, sigma: float) -> Tensor:
    """Returns the middle and one side of a Gaussian kernel of ``size`` taps that sums to one, float64."""
    weights = torch.exp(-0.5 * (torch.arange(size // 2 + 1).double() / sigma)**2)
    return weights / (weights[0] + 2 * weights[1:].sum())


def frequency_response(half_kernels_TK: Tensor, length: int) -> Tensor:
    """Returns the real response of symmetric kernels at the frequencies of a mirrored signal.

    Args:
        half_kernels_TK: Middle and one side of each kernel.
        length: Number N of samples before mirroring.
    """
    frequencies_N = torch.pi * torch.arange(length).double() / (length - 1)
    waves_KN = torch.cos(torch.arange(half_kernels_TK.shape[1]).double()[:, None] * frequencies_N)
    waves_KN[1:] *= 2
    return half_kernels_TK @ waves_KN


def filter_mirrored(images_BCHW: Tensor, responses_BN: Tensor, dim: int) -> Tensor:
    """Filters images along one axis as if they went on mirrored without end (torch's padding mode ``reflect``).

    Args:
        images_BCHW: Float images of more than one pixel along the axis.
        responses_BN: Of :func:`frequency_response`, for each image or one for all.
        dim: 2 for the rows, 3 for the columns.
    """
    length = images_BCHW.shape[dim]
    mirrored = torch.cat([images_BCHW, images_BCHW.narrow(dim, 1, length - 2).flip(dim)], dim)
    responses = responses_BN[:, None, :, None] if dim == 2 else responses_BN[:, None, None, :]
    spectrum = torch.fft.rfft(mirrored, dim=dim) * responses
    return torch.fft.irfft(spectrum, n=mirrored.shape[dim], dim=dim).narrow(dim, 0, length)


def lowest(values_B1hw: Tensor, shares_B: Tensor) -> Tensor:
    """Marks the given share of lowest values of each image, rounded to whole cells; bool of the same shape."""
    counts_B1 = (shares_B * values_B1hw[0].numel()).round().long()[:, None].to(values_B1hw.device)
    ordered_BM = values_B1hw.flatten(1).sort(dim=1).values
    limits_B1 = ordered_BM.gather(1, (counts_B1 - 1).clamp(min=0))
    return (values_B1hw <= limits_B1[:, :, None, None]) & (counts_B1 > 0)[:, :, None, None]


def _normal(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _per_image(values_T: Tensor, levels: Sequence[int], like_BCHW: Tensor) -> Tensor:
    return values_T[list(levels)].to(like_BCHW)[:, None, None, None]


def _check(images_BCHW: Tensor, levels: Sequence[int], seeds: Sequence[int], steps: int) -> None:
    if not len(images_BCHW) == len(levels) == len(seeds):
        raise ValueError(f'{len(images_BCHW)} images, {len(levels)} levels and {len(seeds)} seeds: give one of each '
                         'for every image')
    if not all(0 <= level < steps for level in levels):
        raise ValueError(f'levels {list(levels)} of a degradation with steps={steps}: allowed are 0 to {steps - 1}')
