"""Semantic gradient guidance: where a label moves a noisy sample (SGG, Peng et al., ICCV 2023).

Local class-regional guidance (LCG) takes the loss of each class in its own region, global scene-harmonious guidance
(GSG) the loss of the whole image. Both are gradients with respect to the noisy sample.

Shape suffixes: B images, C channels, H and W size of a label map, h and w size of a noisy sample.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ignore_index import IGNORE_INDEX

ORDERS = ('alternate', 'both', 'local', 'global')
LOCAL_FORMS = ('one_pass', 'per_class')
THROUGH = ('sample', 'estimate')
NORMALISATIONS = (None, 'pixels', 'rms')


@dataclass(frozen=True)
class SemanticGuidance:
    """What of the loss guides, how strongly, and at which step.

    Args:
        local_scale: Strength of LCG, at least 0. With ``normalise='pixels'``, 1 would be Bayes' rule if the pixels of
            a segmentor were independent. They are not: what helps is 0.01 or 0.001, by the pair of domains, and 0.3
            ruins images.
        global_scale: Strength of GSG, likewise.
        order: ``'alternate'``: LCG at even steps and GSG at odd ones, as in the paper; ``'both'`` at every step, or
            only ``'local'`` or ``'global'``.
        local_form: ``'one_pass'``: one backward pass of the sum of all regions' losses. ``'per_class'``: as written in
            the paper, a backward pass for each class, of which only its own region is kept. They differ by how the
            loss of one region moves another: exactly by that, so not at all where pixels do not see each other.
        through: ``'sample'``: the gradient passes the UNet to the noisy sample. ``'estimate'``: it stops at the
            estimate of the clean image, and the UNet is taken for that of white data of variance 1. Cheaper.
        normalise: None: losses are means, over a region (LCG) or the image (GSG), so that the shift of a pixel shrinks
            with their size. ``'pixels'``: the same, times the labelled pixels (LCG: divided by the number of regions),
            so that a pixel's loss has a weight of 1 on average and the size of the image does not matter. ``'rms'``:
            the gradient is scaled to a root mean square of 1 in each region (LCG) or in the image (GSG).
        clip: Largest absolute value of an element of the gradient, before the scale; None for no limit.

    Raises:
        ValueError: If a value is not allowed.
    """

    local_scale: float = 0.03
    global_scale: float = 0.03
    order: str = 'alternate'
    local_form: str = 'one_pass'
    through: str = 'sample'
    normalise: str | None = 'pixels'
    clip: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in dict(order=ORDERS, local_form=LOCAL_FORMS, through=THROUGH,
                                  normalise=NORMALISATIONS).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f'guidance.{name} is {getattr(self, name)!r}, allowed are {allowed}')
        for name in ('local_scale', 'global_scale'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(f'guidance.{name} is {getattr(self, name)}, allowed are numbers from 0 on')
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f'guidance.clip is {self.clip}, allowed are None and numbers above 0')

    def terms(self, step: int) -> list[tuple[str, float]]:
        """Returns which guidance acts at a step of the reverse process, counted from 0, and how strongly."""
        turn = ('local', 'global')[step % 2]
        names = dict(alternate=(turn, ), both=('local', 'global'), local=('local', ), **{'global': ('global', )})
        scales = dict(local=self.local_scale, **{'global': self.global_scale})
        return [(name, scales[name]) for name in names[self.order] if scales[name] > 0]

    @torch.enable_grad()
    def gradient(self, step: int, loss_BHW: Tensor, labels_BHW: Tensor, variable_BChw: Tensor,
                 factor: float = 1.) -> Tensor:
        """Returns the scaled gradient of the losses of a step, [B, C, h, w].

        Args:
            step: Step of the reverse process, counted from 0.
            loss_BHW: Loss of each pixel with its graph, 0 where it is ignored; images do not see each other.
            labels_BHW: int64 class ids, 255 = ignore.
            variable_BChw: What the loss is differentiated by, a leaf of its graph.
            factor: The gradient is multiplied by it before it is normalised.

        Raises:
            ValueError: If the loss does not depend on the variable.
        """
        if not loss_BHW.requires_grad:
            raise ValueError('the loss has no gradient with respect to the image: the guiding segmentor cuts it off '
                             '(torch.no_grad, detach, arg-max) in its prediction; take another one as guide')
        total_BChw = torch.zeros_like(variable_BChw)
        for name, scale in self.terms(step):
            if name == 'local':
                gradient_BChw = self._local(loss_BHW, labels_BHW, variable_BChw, factor)
            else:
                gradient_BChw = self._global(loss_BHW, labels_BHW, variable_BChw, factor)
            if self.clip is not None:
                gradient_BChw = gradient_BChw.clamp(-self.clip, self.clip)
            total_BChw += scale * gradient_BChw
        return total_BChw

    def _local(self, loss_BHW: Tensor, labels_BHW: Tensor, variable_BChw: Tensor, factor: float) -> Tensor:
        weighted_BHW = self._weights(labels_BHW) * loss_BHW
        places_Bhw = _at_places(labels_BHW, variable_BChw)
        if self.local_form == 'one_pass':
            gradient_BChw, = _gradients([weighted_BHW.sum()], variable_BChw)
            gradient_BChw = gradient_BChw * (places_Bhw != IGNORE_INDEX)[:, None]
        else:
            classes = [index for index in labels_BHW.unique().tolist() if index != IGNORE_INDEX]
            losses = [weighted_BHW[labels_BHW == index].sum() for index in classes]
            gradient_BChw = torch.zeros_like(variable_BChw)
            for index, own_BChw in zip(classes, _gradients(losses, variable_BChw)):
                gradient_BChw += own_BChw * (places_Bhw == index)[:, None]
        gradient_BChw = gradient_BChw * factor
        return _unit_rms(gradient_BChw, places_Bhw) if self.normalise == 'rms' else gradient_BChw

    def _global(self, loss_BHW: Tensor, labels_BHW: Tensor, variable_BChw: Tensor, factor: float) -> Tensor:
        region_BHW = torch.where(labels_BHW == IGNORE_INDEX, labels_BHW, 0)
        gradient_BChw, = _gradients([(self._weights(region_BHW) * loss_BHW).sum()], variable_BChw)
        gradient_BChw = gradient_BChw * factor
        if self.normalise == 'rms':
            return _unit_rms(gradient_BChw, torch.zeros_like(gradient_BChw[:, 0], dtype=torch.int64))
        return gradient_BChw

    def _weights(self, regions_BHW: Tensor) -> Tensor:
        """Returns the weight of each pixel's loss, alike in a region: their sum is that of a mean, or of pixels."""
        sizes_BR = _sizes(regions_BHW)
        weights_BR = 1 / sizes_BR.clamp(min=1)
        if self.normalise == 'pixels':
            labelled_BR = sizes_BR[:, :IGNORE_INDEX]
            weights_BR = weights_BR * (labelled_BR.sum(1) / (labelled_BR > 0).sum(1).clamp(min=1))[:, None]
        return weights_BR.gather(1, regions_BHW.flatten(1)).view(regions_BHW.shape)


def _gradients(losses: Sequence[Tensor], variable_BChw: Tensor) -> list[Tensor]:
    # The graph stays for the next guidance of the step, and goes with the loss.
    return [torch.autograd.grad(loss, variable_BChw, retain_graph=True)[0] for loss in losses]


def _at_places(labels_BHW: Tensor, like_BChw: Tensor) -> Tensor:
    """Returns the label in the middle of each place of a sample; in pixel space, the labels."""
    if labels_BHW.shape[1:] == like_BChw.shape[2:]:
        return labels_BHW
    return F.interpolate(labels_BHW[:, None].float(), size=like_BChw.shape[2:], mode='nearest-exact')[:, 0].long()


def _sizes(regions_BHW: Tensor) -> Tensor:
    """Returns the number of pixels of each region id from 0 to 255, [B, 256]."""
    ids = regions_BHW.flatten(1)
    return torch.zeros(len(ids), IGNORE_INDEX + 1, device=ids.device).scatter_add_(1, ids, torch.ones_like(ids).float())


def _unit_rms(gradient_BChw: Tensor, regions_Bhw: Tensor) -> Tensor:
    """Scales a gradient to a root mean square of 1 in each region; where it is zero, it stays zero."""
    ids = regions_Bhw.flatten(1)
    # In double precision the order of the sum, which GPUs leave open, does not show.
    squares = gradient_BChw.double().square().mean(1).flatten(1)
    sums_BR = squares.new_zeros(len(ids), IGNORE_INDEX + 1).scatter_add_(1, ids, squares)
    rms_BR = (sums_BR / _sizes(regions_Bhw).clamp(min=1)).sqrt().to(gradient_BChw.dtype)
    rms_B1hw = rms_BR.gather(1, ids).view(regions_Bhw.shape)[:, None]
    return torch.where(rms_B1hw > 0, gradient_BChw / rms_B1hw, 0)
