"""A discriminator of several domains, and its opponent who wants it to be undecided (CICLD, Eq. 8).

Shape suffixes: B images, C channels, h and w size of a feature map, N images of all domains, K domains.
"""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call

HIDDEN = 1024
DIRECTIONS = ('prediction_to_uniform', 'uniform_to_prediction')


@MODELS.register_module()
class DomainAdversarialLoss(nn.Module):
    """Cross entropy for the discriminator, Kullback-Leibler divergence to the uniform distribution for its opponent.

    Both losses come from the same features: the discriminator sees them detached, the opponent sees a discriminator
    whose parameters receive no gradient. So one optimiser trains both in one step.

    Args:
        in_channels: Channels of the features.
        domains: Number of domains, 2 (source, target) or 3 (source, mixed, target).
        divergence: ``'prediction_to_uniform'`` is KL(p || u) as in Eq. 8: negative entropy and a constant, with a
            gradient that vanishes where the discriminator is sure. ``'uniform_to_prediction'`` is KL(u || p), whose
            gradient is largest there.
        block_channels: Channels of the resolutions of the discriminator, see :class:`DomainDiscriminator`.
        layers_per_block: Residual blocks at each resolution.

    Raises:
        ValueError: If ``domains`` or ``divergence`` is not one of those above.
    """

    def __init__(self, in_channels: int, domains: int = 3, divergence: str = 'prediction_to_uniform',
                 block_channels: Sequence[int] = (64, 128, 256), layers_per_block: int = 1) -> None:
        super().__init__()
        if domains not in (2, 3):
            raise ValueError(f'DomainAdversarialLoss got domains={domains}, allowed are 2 (source, target) and '
                             '3 (source, mixed, target)')
        if divergence not in DIRECTIONS:
            raise ValueError(f"DomainAdversarialLoss got divergence='{divergence}', allowed are {DIRECTIONS}")
        self.domains, self.divergence = domains, divergence
        self.discriminator = DomainDiscriminator(in_channels, domains, block_channels, layers_per_block)

    def forward(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Computes both losses, each a mean over all images of all domains.

        Args:
            features: One float tensor [B, C, h, w] a domain, in the order of the domains; gradients reach them.

        Returns:
            ``loss_confusion`` for the features, ``loss_discriminator`` for the discriminator, and
            ``acc_discriminator``, the share of images in percent whose domain it finds.

        Raises:
            ValueError: If there are not as many tensors as domains.
        """
        if len(features) != self.domains:
            raise ValueError(f'DomainAdversarialLoss with domains={self.domains} got the features of {len(features)}')
        features_NChw = torch.cat(list(features))
        domain_N = torch.cat([torch.full((len(part), ), index, device=part.device)
                              for index, part in enumerate(features)])
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        opposed_NK = functional_call(self.discriminator, frozen, features_NChw)
        own_NK = self.discriminator(features_NChw.detach())
        hits_N = own_NK.argmax(dim=1) == domain_N
        return dict(loss_confusion=divergence_from_uniform(opposed_NK, self.divergence),
                    loss_discriminator=F.cross_entropy(own_NK, domain_N),
                    acc_discriminator=100 * hits_N.to(own_NK.dtype).mean())


class DomainDiscriminator(nn.Module):
    """Tells the domain of a feature map: the encoder half of a UNet, then layers of 1024 and of the number of domains.

    The paper (section 4.1) gives the two widths alone. The mean over all positions lies between both parts, so that
    one network judges feature maps of any size.

    Args:
        in_channels: Channels of the features.
        domains: Number of domains.
        block_channels: Channels of each resolution; every block but the last halves height and width.
        layers_per_block: Residual blocks at each resolution.
    """

    def __init__(self, in_channels: int, domains: int, block_channels: Sequence[int], layers_per_block: int) -> None:
        from diffusers.models.unets.unet_2d_blocks import DownEncoderBlock2D  # loads on use, see models/__init__.py
        super().__init__()
        self.stem = nn.Conv2d(in_channels, block_channels[0], 3, padding=1)
        befores = (block_channels[0], *block_channels[:-1])
        groups = math.gcd(32, *block_channels)
        self.blocks = nn.Sequential(*(
            DownEncoderBlock2D(before, channels, num_layers=layers_per_block, resnet_groups=groups,
                               add_downsample=index < len(block_channels) - 1)
            for index, (before, channels) in enumerate(zip(befores, block_channels))))
        self.norm = nn.GroupNorm(groups, block_channels[-1])
        self.classifier = nn.Sequential(nn.Linear(block_channels[-1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, domains))

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Returns float logits [B, K] of the domains."""
        features_BChw = F.silu(self.norm(self.blocks(self.stem(features_BChw))))
        return self.classifier(features_BChw.mean(dim=(2, 3)))


def divergence_from_uniform(logits_NK: Tensor, direction: str) -> Tensor:
    """Returns the mean Kullback-Leibler divergence between softmax(logits) p and the uniform distribution u.

    Args:
        logits_NK: Float logits, a row an image.
        direction: ``'prediction_to_uniform'`` for KL(p || u), ``'uniform_to_prediction'`` for KL(u || p).
    """
    log_p_NK, domains = F.log_softmax(logits_NK, dim=1), logits_NK.shape[1]
    if direction == 'prediction_to_uniform':
        return (log_p_NK.exp() * log_p_NK).sum(dim=1).mean() + math.log(domains)
    return -log_p_NK.mean() - math.log(domains)
