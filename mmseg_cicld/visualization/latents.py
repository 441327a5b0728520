"""Pictures of latents and of what a diffusion head makes of them, step by step.

Shape suffixes: C channels, h and w size of a latent, H and W size of an image.
"""
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from .panel import colorize

Tiles = dict[str, np.ndarray]


def latent_colours(latents_CHW: Sequence[Tensor]) -> list[np.ndarray]:
    """Paints latents of one image by their first three principal components.

    Components and range of the colours are those of the first latent, so that the pictures can be compared.

    Args:
        latents_CHW: Latents [C, h, w] of equal shape, at least three channels.

    Returns:
        RGB uint8 [h, w, 3] of each.
    """
    flat_NC = latents_CHW[0].flatten(1).T
    mean_C = flat_NC.mean(dim=0)
    axes_CK = torch.linalg.svd(flat_NC - mean_C, full_matrices=False).Vh[:3].T
    spread_K = ((flat_NC - mean_C) @ axes_CK).std(dim=0).clamp(min=1e-6)
    pictures = []
    for latent_Chw in latents_CHW:
        points_hwK = (latent_Chw.permute(1, 2, 0) - mean_C) @ axes_CK
        pictures.append(((points_hwK / (4 * spread_K) + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    return pictures


def denoises(segmentor: nn.Module) -> bool:
    """Whether a segmentor predicts by denoising at one scale, so that :func:`denoising_rows` can draw it."""
    head = segmentor.decode_head
    return getattr(head, 'denoiser', None) is not None and head.inference.steps > 0


def denoising_rows(segmentor: nn.Module, picture_3HW: Tensor, label: tuple[str, Tensor], palette: Sequence[Sequence[int]],
                   columns: int = 5) -> list[Tiles]:
    """Lays out what a segmentor with a diffusion head makes of one image, as rows of a panel.

    Args:
        segmentor: Segmentor with a :class:`LatentDiffusionHead`, in evaluation mode.
        picture_3HW: RGB uint8 image.
        label: Title and class ids [H, W] of the label map that stands beside the predictions.
        palette: RGB of each class.
        columns: At most so many steps are drawn, evenly spaced; the last one is among them.

    Returns:
        Two rows of tiles by title: image and latents, label and the predictions that the latents decode to. The first
        latent is the image's; its prediction is that of the bypassed denoiser, and is left out where a label map is
        diffused.

    Raises:
        ValueError: If the segmentor does not denoise at one scale.
    """
    if not denoises(segmentor):
        raise ValueError('there is no denoising to draw: the config needs a LatentDiffusionHead at one scale with a '
                         'denoiser and decode_head.inference.steps of at least 1')
    preprocessor = segmentor.data_preprocessor
    image_3HW = (picture_3HW.to(preprocessor.mean) - preprocessor.mean) / preprocessor.std
    latents, predictions = _denoising_tiles(segmentor, image_3HW[None], palette, columns)
    title, label_HW = label
    return [{'image': np.ascontiguousarray(picture_3HW.permute(1, 2, 0).numpy()), **latents},
            {title: colorize(label_HW.numpy(), palette), **predictions}]


@torch.no_grad()
def _denoising_tiles(segmentor: nn.Module, image_1CHW: Tensor, palette: Sequence[Sequence[int]],
                     columns: int) -> tuple[Tiles, Tiles]:
    head = segmentor.decode_head
    skips, latent_1Chw = head.split(segmentor.extract_feat(image_1CHW))
    reached = list(head.trajectory(latent_1Chw))
    steps = sorted(set(np.linspace(0, len(reached) - 1, min(columns, len(reached))).round().astype(int).tolist()))
    latents = {'latent': latent_1Chw, **{f'after step {step + 1}': reached[step] for step in steps}}
    size = tuple(image_1CHW.shape[:1:-1])
    pictures = latent_colours([latent[0].float().cpu() for latent in latents.values()])
    colours = {title: cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
               for title, picture in zip(latents, pictures)}
    decoded = {title if title != 'latent' else 'bypassed': latent for title, latent in latents.items()
               if title != 'latent' or head.diffused == 'image'}
    predictions = {}
    for title, latent in decoded.items():
        label_HW = head.decode(latent, skips)[0].argmax(dim=0).cpu().numpy().astype(np.uint8)
        predictions[title] = colorize(cv2.resize(label_HW, size, interpolation=cv2.INTER_NEAREST), palette)
    return colours, predictions
