"""Compensation for what a degradation took from an image (DiDA, Li et al., NeurIPS 2025: semantic shift compensation).

Works on the feature maps of any mmseg segmentor, whatever its backbone. Shape suffixes: B images, C channels, H and W
image size, h and w feature size.
"""
import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WAVE_CHANNELS = 16
EMBEDDING_CHANNELS = 256

Features = tuple[Tensor, ...]


class FeatureLevel(NamedTuple):
    """Channels of a feature map, and pixels of the image for each of its rows."""

    channels: int
    stride: int


class FeatureEncoder(nn.Module):
    """A copy of the backbone of a segmentor, and of its neck if there is one.

    Args:
        segmentor: An mmseg segmentor.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(segmentor.backbone)
        self.neck = copy.deepcopy(segmentor.neck) if getattr(segmentor, 'with_neck', False) else None

    def forward(self, images_BCHW: Tensor) -> Features:
        """Returns feature maps, finest first."""
        features = self.backbone(images_BCHW)
        features = features if self.neck is None else self.neck(features)
        return (features, ) if isinstance(features, Tensor) else tuple(features)

    def copy_from(self, segmentor: nn.Module) -> None:
        """Takes over the weights of the segmentor once more."""
        self.backbone.load_state_dict(segmentor.backbone.state_dict())
        if self.neck is not None:
            self.neck.load_state_dict(segmentor.neck.state_dict())


def feature_levels(segmentor: nn.Module) -> list[FeatureLevel]:
    """Returns what the heads of a segmentor get of an image, without computing it.

    Args:
        segmentor: An mmseg segmentor whose data preprocessor has the ``size`` of training images.

    Raises:
        ValueError: If it has none.
    """
    size = getattr(segmentor.data_preprocessor, 'size', None)
    if size is None:
        raise ValueError('the features of the segmentor are unknown without the size of its images: set '
                         'model.segmentor.data_preprocessor.size to the crop size of the training pipelines')
    encoder = FeatureEncoder(segmentor).to('meta')
    encoder.eval()
    with torch.no_grad():
        features = encoder(torch.empty(1, len(segmentor.data_preprocessor.mean), *size, device='meta'))
    return [FeatureLevel(level.shape[1], round(size[0] / level.shape[2])) for level in features]


class TimeModulation(nn.Module):
    """``z (MLP_s(Embed(t)) + 1) + MLP_b(Embed(t))`` at every feature level, which starts as the identity.

    The embedding is that of the released code: waves of 16 channels, then two linear layers of 256 with GELU; both
    MLPs of a level are SiLU and a linear layer.

    Args:
        channels: Channels of each feature level.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps  # loads on use, see models/__init__.py
        super().__init__()
        self.waves = Timesteps(WAVE_CHANNELS, flip_sin_to_cos=False, downscale_freq_shift=0)
        self.embedding = TimestepEmbedding(WAVE_CHANNELS, EMBEDDING_CHANNELS, act_fn='gelu')
        self.scale_and_shift = nn.ModuleList()
        for width in channels:
            linear = nn.Linear(EMBEDDING_CHANNELS, 2 * width)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
            self.scale_and_shift.append(nn.Sequential(nn.SiLU(), linear))

    def forward(self, features: Features, levels_B: Tensor) -> Features:
        """Modulates feature maps [B, C, h, w] by the degradation level of each image."""
        embedded_BE = self.embedding(self.waves(levels_B).to(self.embedding.linear_1.weight.dtype))
        return tuple(self._modulated(feature_BChw, layer(embedded_BE))
                     for feature_BChw, layer in zip(features, self.scale_and_shift, strict=True))

    @staticmethod
    def _modulated(feature_BChw: Tensor, scale_and_shift_BS: Tensor) -> Tensor:
        scale_BC11, shift_BC11 = scale_and_shift_BS[:, :, None, None].chunk(2, dim=1)
        return feature_BChw * (scale_BC11 + 1) + shift_BC11


class SharedShiftEncoder(nn.Module):
    """Compensation by the segmentor's own encoder, told the level of degradation (g_time in DiDA's ablation).

    Args:
        segmentor: The segmentor.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.modulation = TimeModulation([level.channels for level in feature_levels(segmentor)])

    def shifts(self, images_BCHW: Tensor) -> Features:
        """Returns nothing: it has no encoder of its own."""
        return ()

    def forward(self, features: Features, shifts: Features, levels_B: Tensor) -> Features:
        """Returns the segmentor's features of the degraded images, modulated by the level of each."""
        return self.modulation(features, levels_B)


class SeparateShiftEncoder(nn.Module):
    """Compensation by an encoder of the same architecture: its modulated features are added (g' in DiDA).

    It runs before the segmentor. So the backward pass reaches it last, when the segmentor's activations are freed.

    Args:
        segmentor: The segmentor, from whose encoder this one starts.
        recompute: Whether activations are computed again in the backward pass instead of kept.
    """

    def __init__(self, segmentor: nn.Module, recompute: bool) -> None:
        super().__init__()
        self.encoder = FeatureEncoder(segmentor)
        self.modulation = TimeModulation([level.channels for level in feature_levels(segmentor)])
        self.recompute = recompute

    def shifts(self, images_BCHW: Tensor) -> Features:
        """Returns its features of the degraded images."""
        if self.recompute:
            return checkpoint(self.encoder, images_BCHW, use_reentrant=False)
        return self.encoder(images_BCHW)

    def forward(self, features: Features, shifts: Features, levels_B: Tensor) -> Features:
        """Adds what is missing, modulated by the level of each image, to the segmentor's features."""
        shifts = self.modulation(shifts, levels_B)
        return tuple(level + shift for level, shift in zip(features, shifts, strict=True))
