"""Pre-training of an autoencoder on unlabelled images (CICLD, section 3.5, after Rombach et al., CVPR 2022).

Shape suffixes: B images, C channels, H and W height and width.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...finite_losses import image_files, read_finite
from ...random_streams import KeyedStreams
from ...scaled_steps import update_parameters
from .critics import PatchAdversary, PerceptualDistance, renormalised

if TYPE_CHECKING:  # diffusers loads when a model with diffusion is built, see models/__init__.py
    from diffusers import AutoencoderKL

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@MODELS.register_module()
class AutoencoderPretraining(BaseModel):
    """Trains a diffusers ``AutoencoderKL`` to give back the images of all domains; labels are not looked at.

    The loss is the mean absolute difference of the pixels, plus the perceptual distance, plus the opposition to a patch
    discriminator, plus the divergence of the latent from a standard normal distribution. All weights are fixed;
    Rombach et al. balance that of the discriminator by gradient norms. Discriminator and autoencoder learn in the same
    step with one optimiser.

    Args:
        autoencoder: Arguments of diffusers' ``AutoencoderKL``, or ``dict(pretrained=FOLDER_OR_HUB_NAME)`` to go on
            with a trained one.
        data_preprocessor: A ``SegDataPreProcessor``; mean and std of 127.5 bring images into [-1, 1].
        perceptual: ``dict(weight=1.0, network=BACKBONE)``, the features of a frozen mmseg backbone, whose images are
            normalised as for ImageNet. None: off.
        adversary: ``dict(weight=0.1, start=0, channels=64, layers=3)``, a :class:`PatchAdversary` that takes part from
            iteration ``start`` on. None: off.
        kl_weight: Factor of the divergence, summed over the latent and divided by the number of values of the image;
            1e-6 is that of the published f=8 autoencoder, whose other losses are sums.

    Raises:
        ValueError: If the data preprocessor does not normalise.
    """

    def __init__(self, autoencoder: dict, data_preprocessor: dict, perceptual: dict | None = None,
                 adversary: dict | None = None, kl_weight: float = 1e-6) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if not getattr(self.data_preprocessor, '_enable_normalize', False):
            raise ValueError('model.data_preprocessor of AutoencoderPretraining has no mean and std: set both to '
                             '[127.5, 127.5, 127.5]')
        self.autoencoder = build_autoencoder(autoencoder)
        self.kl_weight = kl_weight
        distance, opponent = dict(perceptual or {}), dict(adversary or {})
        self.perceptual_weight, self.adversary_weight = distance.pop('weight', 1.0), opponent.pop('weight', 0.1)
        self.adversary_start = opponent.pop('start', 0)
        self.perceptual = None if perceptual is None else PerceptualDistance(**distance)
        self.adversary = None if adversary is None else PatchAdversary(**opponent)
        self.register_buffer('iteration', torch.zeros((), dtype=torch.int64))
        self._iteration = 0
        self.streams = KeyedStreams(seed=0)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper, ddp: nn.Module | None = None) -> dict[str, Tensor]:
        """Runs one iteration.

        Args:
            data: Batches by domain, as :class:`UDADataset` gives them.
            optim_wrapper: mmengine's optimiser wrapper.
            ddp: The DDP module around this model, if there is one.

        Returns:
            The log values.

        Raises:
            NonFiniteLossError: If a loss or a gradient is NaN or infinite; nothing has been updated from it.
        """
        images, seeds, files = [], [], []
        for domain, batch in data.items():
            batch = self.data_preprocessor(batch, True)
            images.append(batch['inputs'])
            files += image_files(batch['data_samples'])
            indices = range(get_rank(), get_rank() + get_world_size() * len(images[-1]), get_world_size())
            seeds += [self.streams.integer(f'autoencoder.{domain}', self._iteration, index) for index in indices]
        module = self if ddp is None else ddp
        with optim_wrapper.optim_context(module):
            losses = module(torch.cat(images), seeds, mode='loss')
        total, log = self.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(total))
        log = read_finite(log, self._iteration + 1, files, self, optim_wrapper)
        update_parameters(optim_wrapper)
        self._iteration += 1
        self.iteration.add_(1)
        return log

    def forward(self, inputs: Tensor, data_samples: Sequence[int] = (),
                mode: str = 'tensor') -> dict[str, Tensor] | Tensor:
        """Reconstructs images from the mean of their latents, or computes the losses.

        Args:
            inputs: Normalised images [B, 3, H, W].
            data_samples: In the mode ``'loss'`` a seed for each image, which keys the draw of its latent.
            mode: ``'tensor'`` or ``'loss'``.
        """
        posterior = self.autoencoder.encode(inputs).latent_dist
        if mode == 'tensor':
            return self.autoencoder.decode(posterior.mode()).sample
        noise = [torch.randn(posterior.mean.shape[1:], generator=torch.Generator().manual_seed(seed))
                 for seed in data_samples]
        latent_BCHW = posterior.mean + posterior.std * torch.stack(noise).to(posterior.mean)
        return self._losses(inputs, self.autoencoder.decode(latent_BCHW).sample, posterior.kl())

    def _losses(self, images_BCHW: Tensor, made_BCHW: Tensor, kl_B: Tensor) -> dict[str, Tensor]:
        losses = dict(loss_pixels=F.l1_loss(made_BCHW, images_BCHW),
                      loss_kl=self.kl_weight * kl_B.mean() / images_BCHW[0].numel())
        if self.perceptual is not None:
            mean_std = self.data_preprocessor.mean[None], self.data_preprocessor.std[None]
            pair = [renormalised(images, mean_std, IMAGENET) for images in (images_BCHW, made_BCHW)]
            losses['loss_perceptual'] = self.perceptual_weight * self.perceptual(*pair)
        if self.adversary is not None and self._iteration >= self.adversary_start:
            opponent, losses['loss_discriminator'] = self.adversary(images_BCHW, made_BCHW)
            losses['loss_adversary'] = self.adversary_weight * opponent
        return losses

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._iteration = int(self.iteration)


def build_autoencoder(config: dict) -> AutoencoderKL:
    """Builds a diffusers autoencoder.

    Args:
        config: Arguments of ``AutoencoderKL`` for random weights, or ``dict(pretrained=...)``: a local folder or the
            name of one on the hub.

    Raises:
        ValueError: If ``pretrained`` stands beside other arguments, or is neither a folder nor a name that can be read.
    """
    from diffusers import AutoencoderKL  # loads on use, see models/__init__.py
    arguments = dict(config)
    pretrained = arguments.pop('pretrained', None)
    if pretrained is None:
        return AutoencoderKL(**arguments)
    if arguments:
        raise ValueError(f'the autoencoder has pretrained={pretrained!r} and {sorted(arguments)}: the folder holds its '
                         'architecture, remove the other keys')
    try:
        return AutoencoderKL.from_pretrained(pretrained)
    except OSError as error:
        raise ValueError(f'the autoencoder {pretrained!r} cannot be read ({str(error).splitlines()[0]}): give a folder '
                         'made by save_pretrained, or the name of one on the hub') from error
