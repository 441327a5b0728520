"""Pixel-class contrastive loss across two sets of labelled feature maps, after CLUDA (Vayyat et al., 2022).

CLUDA contrasts features of pixels across classes and domains through ClassMix images. Here each pixel is an anchor, the
mean feature of its class in the other set is the positive, and those of the other classes there are the negatives.

Shape suffixes: B images, C channels, h and w size of the feature map, N pixels, K classes.
"""
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..precision import full_precision


@MODELS.register_module()
class PixelClassContrastiveLoss(nn.Module):
    """InfoNCE of each pixel against the class means of the other set, both scaled to length 1.

    For a pixel with feature z and class c: -log(exp(z m_c / t) / sum_k exp(z m_k / t)) over the classes k that the
    other set has. Pixels whose class it lacks do not count. The means receive no gradient (they are keys, not
    queries), and every class weighs the same, so that rare ones are not drowned. Means and counts are those of
    all processes.

    Args:
        num_classes: Number of classes.
        temperature: t > 0.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def __init__(self, num_classes: int, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'PixelClassContrastiveLoss got temperature={temperature}, it has to be positive')
        self.num_classes, self.temperature = num_classes, temperature

    def forward(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
        """Computes the mean of both directions; zero where the sets share no class.

        Args:
            one: Features float [B, C, h, w] and labels int64 [B, h, w]; ids outside [0, classes) are ignored.
            other: Those of the other set.
        """
        # Sums over many pixels and low temperatures want full precision.
        with torch.autocast(one[0].device.type, enabled=False):
            (one_NC, one_N), (other_NC, other_N) = (pixels(full_precision(features_BChw), labels_Bhw)
                                                    for features_BChw, labels_Bhw in (one, other))
            return (self._towards(one_NC, one_N, *self._class_means(other_NC, other_N))
                    + self._towards(other_NC, other_N, *self._class_means(one_NC, one_N))) / 2

    @torch.no_grad()
    def _class_means(self, features_NC: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means of length 1 [K, C], and which classes there are, bool [K]."""
        member_KN = self._members(labels_N, features_NC.dtype)
        sums_KC, counts_K = member_KN @ features_NC, member_KN.sum(dim=1)
        all_reduce(sums_KC)
        all_reduce(counts_K)
        return F.normalize(sums_KC, dim=1), counts_K > 0

    def _towards(self, features_NC: Tensor, labels_N: Tensor, means_KC: Tensor, there_K: Tensor) -> Tensor:
        similarity_NK = features_NC @ means_KC.T / self.temperature
        # Not minus infinity: without any class the logarithm would be NaN, and so would its gradient.
        log_p_NK = similarity_NK.masked_fill(~there_K, torch.finfo(similarity_NK.dtype).min).log_softmax(dim=1)
        member_KN = self._members(labels_N, features_NC.dtype) * there_K[:, None]
        # Sums of the classes divided by their pixels in all processes; DDP takes the mean over processes later.
        counts_K = member_KN.sum(dim=1)
        all_reduce(counts_K)
        chosen_N = log_p_NK.gather(1, labels_N.clamp(0, self.num_classes - 1)[:, None])[:, 0]
        counted_N = member_KN.sum(dim=0) > 0
        sums_K = member_KN @ torch.where(counted_N, chosen_N, 0)
        present = (counts_K > 0).sum().clamp(min=1)
        return -(sums_K / counts_K.clamp(min=1)).sum() / present * get_world_size()

    def _members(self, labels_N: Tensor, dtype: torch.dtype) -> Tensor:
        return (labels_N == torch.arange(self.num_classes, device=labels_N.device)[:, None]).to(dtype)


def pixels(features_BChw: Tensor, labels_Bhw: Tensor) -> tuple[Tensor, Tensor]:
    """Returns features of length 1 [N, C] and labels [N] of all positions.

    Raises:
        ValueError: If features and labels differ in size.
    """
    if features_BChw.shape[0] != labels_Bhw.shape[0] or features_BChw.shape[2:] != labels_Bhw.shape[1:]:
        raise ValueError(f'features {tuple(features_BChw.shape)} and labels {tuple(labels_Bhw.shape)} of the '
                         'contrastive loss differ in size: bring the labels to the size of the features')
    return F.normalize(features_BChw.movedim(1, 3).flatten(0, 2), dim=1), labels_Bhw.flatten()
