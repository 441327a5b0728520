"""Training of an unconditional diffusion model on unlabelled images (SGG, Peng et al., ICCV 2023; DDPM, 2020).

Shape suffixes: B images, H and W height and width of images, C channels, h and w of latents.
"""
import copy
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DModel
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..finite_losses import image_files, read_finite
from ..models.autoencoder.pretraining import build_autoencoder
from ..models.diffusion.diffusers_schedulers import build_scheduler
from ..models.diffusion.noising import Noising
from ..random_streams import KeyedStreams
from ..scaled_steps import update_parameters
from .image_diffusion import ImageDiffusion

SIZE_REMEDY = 'change model.image_size and the RandomCrop of train_dataloader.dataset.target.pipeline'


@MODELS.register_module(force=True)  # in place of the builder of on_demand.py
class TargetDiffusion(BaseModel):
    """Learns to denoise images of one domain, and keeps an average of the denoiser's weights, which is the result.

    The loss is the mean squared error of the prediction (noise, clean image, velocity or flow, as the scheduler says)
    at a timestep drawn uniformly. Every image has its own draws, keyed by iteration and place in the joined batch.

    Args:
        image_size: Height and width of the training images, in pixels. A UNet without attention also takes others.
        unet: Arguments of diffusers' ``UNet2DModel``, without its channels and ``sample_size``, which follow.
        scheduler: ``type``, a diffusers scheduler, and its arguments. It noises the training images, draws the samples
            and is saved with the weights.
        autoencoder: None for pixel space; for the latent space of a frozen autoencoder its folder or hub name, or
            arguments of ``AutoencoderKL`` where ``load_from`` brings the weights.
        momentum: Upper bound m in [0, 1) of the averaging factor; iteration t = 0, 1, ... averages with
            min(m, (1 + t) / (10 + t)).

    Raises:
        ValueError: If an argument is refused, or the image size does not divide by the strides.
    """

    def __init__(self, image_size: tuple[int, int], unet: dict, scheduler: dict,
                 autoencoder: dict | str | None = None, momentum: float = 0.9999) -> None:
        super().__init__(data_preprocessor=ImgDataPreprocessor(mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True))
        if not 0 <= momentum < 1:
            raise ValueError(f'model.momentum is {momentum}, allowed are values in [0, 1)')
        self.image_size, self.momentum = tuple(image_size), momentum
        scheduler = build_scheduler(scheduler, key='model.scheduler')
        self.noising = Noising(scheduler, key='model.scheduler')
        coder = _build_frozen(autoencoder)
        self.unet = _build_unet(unet, 3 if coder is None else coder.config.latent_channels)
        average = copy.deepcopy(self.unet).requires_grad_(False)
        self.diffusion = ImageDiffusion(average, dict(scheduler.config, _class_name=type(scheduler).__name__), coder)
        height, width = self.image_size
        self.diffusion.check_size(height, width, remedy=SIZE_REMEDY)
        for network in (self.unet, average):
            network.register_to_config(sample_size=tuple(side // self.diffusion.stride for side in self.image_size))
        self.register_buffer('iteration', torch.zeros((), dtype=torch.int64))
        self._iteration = 0
        self.streams = KeyedStreams(seed=0)

    def train(self, mode: bool = True) -> 'TargetDiffusion':
        """Sets the mode; the average and the autoencoder stay in evaluation mode."""
        super().train(mode)
        self.diffusion.eval()
        return self

    def save_folder(self, folder: str | Path) -> None:
        """Writes the averaged weights in diffusers' layout, see :meth:`ImageDiffusion.save_folder`."""
        self.diffusion.save_folder(folder)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper, ddp: nn.Module | None = None) -> dict[str, Tensor]:
        """Runs one iteration.

        Args:
            data: ``dict(target=BATCH)``, as :class:`UnlabelledDataset` gives it.
            optim_wrapper: mmengine's optimiser wrapper.
            ddp: The DDP module around this model, if there is one.

        Returns:
            The log values, on the CPU.

        Raises:
            NonFiniteLossError: If the loss or a gradient is NaN or infinite; nothing has been updated from it.
            ValueError: If there are no target images, or they have another size than ``image_size``.
        """
        images_B3HW = self._images(data)
        places = range(get_rank(), get_world_size() * len(images_B3HW), get_world_size())
        seeds = [self.streams.integer('target_diffusion', self._iteration, place) for place in places]
        module = self if ddp is None else ddp
        with optim_wrapper.optim_context(module):
            losses = module(images_B3HW, seeds)
        total, log = self.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(total))
        files = image_files(data['target']['data_samples'])
        log = read_finite(log, self._iteration + 1, files, self, optim_wrapper)
        if update_parameters(optim_wrapper):
            self._average()
        self._iteration += 1
        self.iteration.add_(1)
        return log

    def forward(self, images_B3HW: Tensor, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Returns the loss of a batch.

        Args:
            images_B3HW: RGB in [-1, 1].
            seeds: For each image what its timestep and noise are drawn from.
        """
        with torch.no_grad():
            clean_BChw = self.diffusion.encode(images_B3HW).float()
        draws = self.noising.draw(seeds, clean_BChw.shape, last=len(self.noising) - 1)
        noisy_BChw = self.noising.noisy(clean_BChw, draws.noise_BChw, draws.steps_B)
        prediction_BChw = self.unet(noisy_BChw, self.noising.times(draws.steps_B)).sample
        target_BChw = self.noising.target(clean_BChw, draws.noise_BChw, draws.steps_B)
        return dict(loss_noise=F.mse_loss(prediction_BChw.float(), target_BChw))

    def _images(self, data: dict) -> Tensor:
        if 'target' not in data:
            raise ValueError("a training batch needs images under the key 'target': use train_dataloader.dataset="
                             "dict(type='UnlabelledDataset', target=...)")
        for image, sample in zip(data['target']['inputs'], data['target']['data_samples']):
            if tuple(image.shape[1:]) != self.image_size:
                raise ValueError(f'{sample.img_path} has {image.shape[1]} x {image.shape[2]} pixels (height x width) '
                                 f'after the transforms, but model.image_size is {self.image_size}: {SIZE_REMEDY}')
        return self.data_preprocessor(data['target'], True)['inputs']

    @torch.no_grad()
    def _average(self) -> None:
        factor = min(self.momentum, (1 + self._iteration) / (10 + self._iteration))
        torch._foreach_lerp_(list(self.diffusion.unet.parameters()), list(self.unet.parameters()), 1 - factor)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._iteration = int(self.iteration)


def _build_frozen(autoencoder: dict | str | None) -> AutoencoderKL | None:
    if autoencoder is None:
        return None
    config = dict(pretrained=autoencoder) if isinstance(autoencoder, str) else autoencoder
    return build_autoencoder(config).requires_grad_(False)


def _build_unet(arguments: dict, channels: int) -> UNet2DModel:
    try:
        return UNet2DModel(in_channels=channels, out_channels=channels, sample_size=None, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f'model.unet: UNet2DModel refuses {dict(arguments)}: {error}. Its channels and sample_size '
                         'follow from the images or the autoencoder') from error
