"""The networks of a trained diffusion model of images, in pixel space or in the latent space of an autoencoder.

Shape suffixes: B images, C channels, H and W height and width of images, h and w of latents.
"""
from __future__ import annotations

from pathlib import Path

import diffusers
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler, LDMPipeline, SchedulerMixin, UNet2DModel
from torch import Tensor, nn

from ..models.verified_pretrained import PretrainedWeightsError

AUTOENCODER_FOLDERS = ('vae', 'vqvae')  # Stable Diffusion's name, and that of diffusers' LDMPipeline
TRANSLATION_REMEDY = 'change the Resize of source.pipeline, or set tile=dict(size=(HEIGHT, WIDTH), overlap=PIXELS)'


class ImageDiffusion(nn.Module):
    """Denoises images of one domain; holds nothing of training.

    Images are float RGB in [-1, 1], [B, 3, H, W]. Diffusion works on latents: the images themselves in pixel space, or
    what the autoencoder makes of them.

    Args:
        unet: The denoiser, without a condition.
        scheduler_config: Config of the diffusers scheduler that it was trained with, as ``scheduler.config`` gives it,
            with ``_class_name``.
        autoencoder: None in pixel space.

    Raises:
        ValueError: If the channels of the parts do not fit.
    """

    def __init__(self, unet: UNet2DModel, scheduler_config: dict, autoencoder: AutoencoderKL | None = None) -> None:
        super().__init__()
        channels = 3 if autoencoder is None else autoencoder.config.latent_channels
        if not unet.config.in_channels == unet.config.out_channels == channels:
            raise ValueError(f'the UNet takes {unet.config.in_channels} channels and gives {unet.config.out_channels}, '
                             f'but {"images" if autoencoder is None else "latents of the autoencoder"} have {channels}:'
                             ' in_channels and out_channels have to be that (a learned variance is not supported)')
        self.unet, self.autoencoder = unet, autoencoder
        self.scheduler_config = dict(scheduler_config)

    @classmethod
    def from_folder(cls, folder: str | Path) -> ImageDiffusion:
        """Reads a model in diffusers' layout, in evaluation mode.

        Args:
            folder: A folder with ``unet``, ``scheduler`` and, for a latent model, ``vae`` (or ``vqvae``), as
                :meth:`save_folder`, ``DDPMPipeline`` and ``LDMPipeline`` write it, or the name of one on the hub.

        Raises:
            PretrainedWeightsError: If it cannot be read, or is the model of something else.
        """
        root = Path(_local(str(folder)))
        unet = _read(UNet2DModel, root, 'unet')
        scheduler_config = _read_scheduler_config(root)
        found = next((name for name in AUTOENCODER_FOLDERS if (root / name).is_dir()), None)
        autoencoder = None if found is None else _read(AutoencoderKL, root, found)
        try:
            return cls(unet, scheduler_config, autoencoder).eval()
        except ValueError as error:
            raise PretrainedWeightsError(f'the diffusion model {str(folder)!r}: {error}') from error

    def save_folder(self, folder: str | Path) -> None:
        """Writes a folder for :meth:`from_folder`, as ``DDPMPipeline`` does or, with latents, ``LDMPipeline``."""
        scheduler = self.scheduler()
        pipeline = (DDPMPipeline(self.unet, scheduler) if self.autoencoder is None
                    else LDMPipeline(vqvae=self.autoencoder, unet=self.unet, scheduler=scheduler))
        pipeline.save_pretrained(folder)

    def scheduler(self) -> SchedulerMixin:
        """Builds the scheduler of the training anew."""
        return getattr(diffusers, self.scheduler_config['_class_name']).from_config(self.scheduler_config)

    @property
    def stride(self) -> int:
        """Pixels, in each direction, of one place of a latent: 1 in pixel space."""
        return 1 if self.autoencoder is None else 2**(len(self.autoencoder.config.block_out_channels) - 1)

    @property
    def size_multiple(self) -> int:
        """What height and width of an image have to be a multiple of."""
        return self.stride * 2**(len(self.unet.config.block_out_channels) - 1)

    def check_size(self, height: int, width: int, remedy: str = TRANSLATION_REMEDY) -> None:
        """Refuses images that do not divide.

        Args:
            height: Of the images, in pixels.
            width: Of the images, in pixels.
            remedy: What the error tells to change, the key of a config.

        Raises:
            ValueError: If height or width is no multiple of :attr:`size_multiple`.
        """
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(f'the images have {height} x {width} pixels (height x width), but the diffusion model '
                             f'needs multiples of {self.size_multiple}: {remedy}')

    def encode(self, images_B3HW: Tensor) -> Tensor:
        """Returns the latents [B, C, h, w] that diffusion works on, without a random draw."""
        if self.autoencoder is None:
            return images_B3HW
        latents_BChw = self.autoencoder.encode(images_B3HW).latent_dist.mode()
        return (latents_BChw - self._shift) * self.autoencoder.config.scaling_factor

    def decode(self, latents_BChw: Tensor) -> Tensor:
        """Returns the images [B, 3, H, W] of latents; gradients pass. Values may leave [-1, 1] a little."""
        if self.autoencoder is None:
            return latents_BChw
        return self.autoencoder.decode(latents_BChw / self.autoencoder.config.scaling_factor + self._shift).sample

    @property
    def _shift(self) -> float:
        return self.autoencoder.config.shift_factor or 0.


def _local(source: str) -> str:
    if Path(source).is_dir():
        return source
    try:
        return diffusers.DiffusionPipeline.download(source)
    except (OSError, ValueError) as error:
        raise PretrainedWeightsError(
            f'the diffusion model {source!r} is neither a folder nor a model on the hub that can be read '
            f'({_first_line(error)}): train one with tools/train.py, which writes WORK_DIR/diffusion, or give a folder '
            'that DDPMPipeline.save_pretrained wrote') from error


def _read(kind: type[nn.Module], root: Path, part: str) -> nn.Module:
    try:
        name = kind.load_config(root, subfolder=part).get('_class_name')
        if name != kind.__name__:
            raise ValueError(f'it is a {name}, allowed is {kind.__name__}')
        return kind.from_pretrained(root, subfolder=part, low_cpu_mem_usage=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(root, part, error) from error


def _read_scheduler_config(root: Path) -> dict:
    try:
        config = DDPMScheduler.load_config(root, subfolder='scheduler')
        if not hasattr(diffusers, config.get('_class_name') or ''):
            raise ValueError(f'diffusers {diffusers.__version__} has no scheduler {config.get("_class_name")!r}')
    except (OSError, ValueError) as error:
        raise _unreadable(root, 'scheduler', error) from error
    return config


def _unreadable(root: Path, part: str, error: Exception) -> PretrainedWeightsError:
    return PretrainedWeightsError(
        f'{root / part} cannot be read: {_first_line(error)}. A diffusion model is a folder with unet (UNet2DModel), '
        'scheduler and, in latent space, vae (AutoencoderKL), as DDPMPipeline.save_pretrained writes it')


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
