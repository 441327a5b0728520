"""Translates images to the domain of a diffusion model, guided by their labels (SGG, Peng et al., ICCV 2023).

Shape suffixes: B images, C channels, H and W height and width, h and w of what diffusion works on.
"""
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..models.precision import autocast_dtype
from ..random_streams import KeyedStreams
from ..settings import build_settings
from .guidance import SemanticGuidance
from .image_diffusion import ImageDiffusion
from .reverse_steps import ReverseSteps, TranslationSettings
from .segmentation_guide import SegmentationGuide

DTYPES = (None, 'bfloat16', 'auto')


class Translator(nn.Module):
    """Noises images and denoises them with the diffusion model of another domain.

    In pixel space every estimate of the clean image is kept in [-1, 1]; the result always is.

    Args:
        diffusion: Model of the target domain; put into evaluation mode, its parameters no longer ask for gradients.
        guide: Segmentor that reads the labels; None without guidance.
        settings: How far to noise, and how to come back.
        guidance: Arguments of :class:`SemanticGuidance`; None translates without guidance.
        dtype: ``'bfloat16'`` runs the networks in it (autocast), while samples keep the dtype of the images; ``'auto'``
            does so on a device with units for it.

    Raises:
        ValueError: If settings are unknown or contradict each other.
    """

    def __init__(self, diffusion: ImageDiffusion, guide: SegmentationGuide | None, settings: TranslationSettings,
                 guidance: dict | None, dtype: str | None = None) -> None:
        super().__init__()
        if guidance is not None and guide is None:
            raise ValueError('guidance needs a segmentor: set segmentor=dict(config=..., checkpoint=...), or '
                             'guidance=None')
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, allowed are None (float32), 'bfloat16' and 'auto' (bfloat16 where the "
                             'device has units for it)')
        self.guidance = None if guidance is None else build_settings(SemanticGuidance, guidance, 'guidance')
        self.diffusion = diffusion.requires_grad_(False)
        self.guide = guide
        self.dtype = dtype
        reverse = ReverseSteps(diffusion.scheduler(), settings)
        self._process, self.noising = reverse.process, reverse.noising
        self.register_buffer('strength_N', reverse.strength_N, persistent=False)
        self.train(False)

    @torch.no_grad()
    def forward(self, images_B3HW: Tensor, labels_BHW: Tensor | None, seeds: Sequence[int]) -> Tensor:
        """Translates images; the result of one depends neither on the others nor on the process.

        Args:
            images_B3HW: Floating point RGB in [-1, 1].
            labels_BHW: int64 class ids, 255 = ignore; not read without guidance.
            seeds: A seed for each image.

        Returns:
            The translated images, of the shape and dtype of the images.

        Raises:
            TypeError: If the images are not floating point, or the labels not int64.
            ValueError: If sizes or class ids do not fit.
        """
        self._check(images_B3HW, labels_BHW, seeds)
        with self._autocast(images_B3HW):
            begin_BChw = self.diffusion.encode(images_B3HW).to(images_B3HW.dtype)
        streams = [KeyedStreams(seed) for seed in seeds]
        noise_BChw = torch.stack([torch.randn(begin_BChw.shape[1:], generator=stream.torch('translation_noise'))
                                  for stream in streams]).to(begin_BChw)
        steps = itertools.count()

        def predict(seen_BChw: Tensor, times_B: Tensor) -> Tensor:
            return self._predict(seen_BChw, times_B, next(steps), labels_BHW)

        *_, latent_BChw = self._process.latents(predict, begin_BChw, noise_BChw,
                                                [stream.integer('translation_steps') for stream in streams])
        with self._autocast(latent_BChw):
            return self.diffusion.decode(latent_BChw).to(images_B3HW.dtype).clamp(-1, 1)

    def _predict(self, seen_BChw: Tensor, times_B: Tensor, step: int, labels_BHW: Tensor | None) -> Tensor:
        """Returns the prediction of the UNet, moved so that the estimate of the clean image is what it should be."""
        guided = self.guidance is not None and bool(self.guidance.terms(step))
        steps_B = torch.full((len(seen_BChw), ), step, device=seen_BChw.device)
        with torch.set_grad_enabled(guided and self.guidance.through == 'sample'):
            seen_BChw = seen_BChw.detach().requires_grad_(torch.is_grad_enabled())
            with self._autocast(seen_BChw):
                prediction_BChw = self.diffusion.unet(seen_BChw, times_B).sample.to(seen_BChw.dtype)
            clean_BChw = self.noising.clean(prediction_BChw, seen_BChw, steps_B)
            shift_BChw = self._into_range(clean_BChw.detach())
            clean_BChw = clean_BChw + shift_BChw  # gradients pass as if nothing was out of range
        if guided:
            gradient_BChw = self._gradient(seen_BChw, clean_BChw, step, labels_BHW)
            shift_BChw = shift_BChw - self.strength_N[step] * gradient_BChw
        return prediction_BChw.detach() + self._as_prediction(shift_BChw, steps_B)

    def _gradient(self, seen_BChw: Tensor, clean_BChw: Tensor, step: int, labels_BHW: Tensor) -> Tensor:
        variable_BChw, factor = seen_BChw, 1.
        if self.guidance.through == 'estimate':
            variable_BChw = clean_BChw = clean_BChw.detach().requires_grad_()
            signal, noise = self.noising.signal_T[step], self.noising.noise_T[step]
            factor = signal / (signal**2 + noise**2)
        with torch.enable_grad(), self._autocast(seen_BChw):
            loss_BHW = self.guide(self.diffusion.decode(clean_BChw).to(clean_BChw.dtype), labels_BHW)
        return self.guidance.gradient(step, loss_BHW, labels_BHW, variable_BChw, factor)

    def _into_range(self, clean_BChw: Tensor) -> Tensor:
        """Returns what is missing for an estimate of the clean image to lie in [-1, 1]; latents have no range."""
        if self.diffusion.autoencoder is not None:
            return torch.zeros_like(clean_BChw)
        return clean_BChw.clamp(-1, 1) - clean_BChw

    def _as_prediction(self, shift_BChw: Tensor, steps_B: Tensor) -> Tensor:
        """Returns how a prediction changes when the estimate of the clean image shifts and the sample does not."""
        ratio_B = self.noising.signal_T[steps_B] / self.noising.noise_T[steps_B]
        return self.noising.target(shift_BChw, -ratio_B[:, None, None, None].to(shift_BChw.dtype) * shift_BChw, steps_B)

    def _autocast(self, like: Tensor) -> torch.autocast:
        dtype = None if self.dtype is None else autocast_dtype(self.dtype, like.device)
        return torch.autocast(like.device.type, dtype=dtype, enabled=dtype is not None)

    def _check(self, images_B3HW: Tensor, labels_BHW: Tensor | None, seeds: Sequence[int]) -> None:
        if images_B3HW.ndim != 4 or images_B3HW.shape[1] != 3:
            raise ValueError(f'images have the shape {tuple(images_B3HW.shape)}, allowed is [B, 3, H, W]')
        if not images_B3HW.is_floating_point():
            raise TypeError(f'images are {images_B3HW.dtype}, allowed is floating point RGB in [-1, 1]')
        if len(seeds) != len(images_B3HW):
            raise ValueError(f'{len(images_B3HW)} images came with {len(seeds)} seeds; each image has its own')
        self.diffusion.check_size(*images_B3HW.shape[2:])
        if self.guidance is None:
            return
        if labels_BHW is None:
            raise ValueError('guidance needs the label of each image: give labels, or set guidance=None')
        if labels_BHW.shape != images_B3HW[:, 0].shape:
            raise ValueError(f'labels have the shape {tuple(labels_BHW.shape)}, but images of the shape '
                             f'{tuple(images_B3HW.shape)} need {tuple(images_B3HW[:, 0].shape)}')
        self.guide.check_labels(labels_BHW)
