"""Loss of degraded images (DiDA, Li et al., NeurIPS 2025): consistency of the segmentation, and reconstruction."""
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

# Weights of consistency and reconstruction. The released code takes 0.25 and 5 where it takes 0.75 of the losses of
# clean images; what counts for Adam is their ratio.
WEIGHTS = dict(paper=(0.5, 5.0), paper_deeplabv2=(0.5, 1.0), released=(0.25 / 0.75, 5 / 0.75))


@MODELS.register_module()
class DegradationConsistencyLoss(nn.Module):
    """Weighs the segmentor's losses on degraded images and adds the mean squared error of the reconstruction.

    Args:
        weights: Factors of consistency and reconstruction, or the name of published ones: ``'paper'`` (0.5 and 5, for
            DAFormer's network), ``'paper_deeplabv2'`` (0.5 and 1), ``'released'`` (1/3 and 20/3, those of the code).

    Raises:
        ValueError: If there is no such name, or not two factors from 0 on.
    """

    def __init__(self, weights: str | Sequence[float] = 'paper') -> None:
        super().__init__()
        if isinstance(weights, str) and weights not in WEIGHTS:
            raise ValueError(f"weights='{weights}' of the degraded images, allowed are {sorted(WEIGHTS)} and two "
                             'numbers')
        factors = WEIGHTS[weights] if isinstance(weights, str) else tuple(weights)
        if len(factors) != 2 or min(factors) < 0:
            raise ValueError(f'weights={weights!r} of the degraded images: give two numbers from 0 on, for consistency '
                             f'and reconstruction, or one of {sorted(WEIGHTS)}')
        self.consistency, self.reconstruction = factors

    def forward(self, segmentation: Mapping[str, Tensor], predictions: Sequence[Tensor] = (),
                targets: Sequence[Tensor] = ()) -> dict[str, Tensor]:
        """Computes the losses of one batch.

        Args:
            segmentation: The segmentor's losses on degraded images, with cross entropy to labels of the clean ones;
                entries whose key has no ``loss`` in it are handed on as they are.
            predictions: Reconstructions, float [B, C, h, w], one for each pass through the encoder.
            targets: What they should be.
        """
        losses = {key: self.consistency * value if 'loss' in key else value for key, value in segmentation.items()}
        errors = [F.mse_loss(prediction.to(target.dtype), target)
                  for prediction, target in zip(predictions, targets, strict=True)]
        if errors:
            losses['loss_reconstruction'] = self.reconstruction * sum(errors) / len(errors)
        return losses
