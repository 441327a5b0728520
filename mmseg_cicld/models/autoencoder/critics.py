"""What judges reconstructions beside their pixels: features of a frozen network, and a patch discriminator.

Shape suffixes: B images, C channels, H and W height and width, h and w size of a feature map.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call

SLOPE = 0.2


class PerceptualDistance(BaseModule):
    """Mean squared distance of feature vectors of length 1, over all places, summed over channels, mean over levels.

    That is LPIPS (Zhang et al., CVPR 2018) without its learned weights of the channels.

    Args:
        network: Config of an mmseg backbone; its weights come from its ``init_cfg`` and stay as they are.
    """

    def __init__(self, network: dict) -> None:
        super().__init__()
        self.network = MODELS.build(network)
        self.network.requires_grad_(False)

    def train(self, mode: bool = True) -> 'PerceptualDistance':
        """Sets the mode; the network stays in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
        """Computes the distance of two batches of images, normalised as the network wants them."""
        levels = list(zip(self.network(one_BCHW), self.network(other_BCHW)))
        return sum((F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(dim=1).mean()
                   for one, other in levels) / len(levels)


class PatchAdversary(nn.Module):
    """A discriminator of patches with the hinge loss, and its opponent, the autoencoder (Rombach et al., CVPR 2022).

    As published but for the batch norms, which are group norms here: they judge each image on its own.

    Args:
        channels: Channels of the first convolution; each following one has twice as many.
        layers: Number of convolutions of stride 2; a score sees ``2 ** layers`` pixels and their surroundings.
    """

    def __init__(self, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * 2**layer for layer in range(layers)]
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for before, after in zip(widths, widths[1:]):
            parts += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), nn.GroupNorm(1, after),
                      nn.LeakyReLU(SLOPE)]
        self.scores = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images_BCHW: Tensor, reconstructed_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the loss of the autoencoder, which does not reach the discriminator, and that of the latter."""
        frozen = {name: parameter.detach() for name, parameter in self.scores.named_parameters()}
        opponent = -functional_call(self.scores, frozen, reconstructed_BCHW).mean()
        real, made = self.scores(images_BCHW), self.scores(reconstructed_BCHW.detach())
        return opponent, 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())


def renormalised(images_BCHW: Tensor, mean_std: Sequence[Tensor], other: Sequence[Sequence[float]]) -> Tensor:
    """Brings images from one normalisation to another.

    Args:
        images_BCHW: Images normalised by ``mean_std``.
        mean_std: Mean and standard deviation, each [1, 3, 1, 1], in units of 8-bit images.
        other: Mean and standard deviation of the other normalisation, three numbers each, in the same units.
    """
    mean, std = (images_BCHW.new_tensor(values)[None, :, None, None] for values in other)
    return (images_BCHW * mean_std[1] + mean_std[0] - mean) / std
