"""How far a number may be from the parity fixtures', by precision and network.

The numbers of float32 are what the published implementation itself moved by, between float32 and float64 and between
CPU kernels; a ResNet with batch statistics of two small images amplifies rounding most.
"""
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tolerances:
    """Allowed deviations; those that are pairs hold for the first iteration and for later ones.

    Args:
        images: Of mixed and masked images, absolute.
        eval_logits: Of logits in evaluation mode, absolute.
        logits: Of the teacher's logits in training mode, absolute, a pair.
        loss: Of losses whose pixels all weigh the same, relative, a pair.
        weighted_loss: Of losses weighted by the share of confident pixels, relative, a pair.
        accuracy: In percent of all pixels, absolute.
        share: Of the confident share and the weights that come from it, absolute; None: ``share_pixels`` of all.
        share_pixels: Number of pixels that may be confident on one side alone.
        labels: Number of pixels of a batch whose pseudo-label may differ; below one a share of all pixels.
        gradient: Of gradient norms, as a share of the largest one.
        values: Of single weights, absolute; None: the parameter's own learning rate, after one step a tenth of it.
        norms: Of norms of weights, relative. In float32 one weight whose gradient is rounding noise moved the norm of
            a small parameter by 1.2e-5, in a ResNet on a processor without AVX-512 by 2.4e-5: AdamW makes a full step
            of noise.
        change: Of norms of what a weight changed by, relative.
    """

    images: float
    eval_logits: float
    logits: tuple[float, float]
    loss: tuple[float, float]
    weighted_loss: tuple[float, float]
    accuracy: float
    share: float | None
    share_pixels: int
    labels: float
    gradient: float
    values: float | None
    norms: float
    change: float


FLOAT64 = Tolerances(
    images=1e-10, eval_logits=1e-10, logits=(1e-9, 1e-9), loss=(1e-9, 1e-8), weighted_loss=(1e-7, 1e-7), accuracy=1e-5,
    share=1e-12, share_pixels=0, labels=0, gradient=1e-7, values=1e-9, norms=1e-9, change=1e-6)
# The published colour jitter keeps its factors in float32 even then, and what follows from the images is as exact.
FLOAT64_JITTERED = replace(FLOAT64, images=5e-7, logits=(1e-9, 5e-7), values=1e-8, norms=1e-8)
FLOAT32_MIT = Tolerances(
    images=2e-6, eval_logits=2e-5, logits=(5e-5, 2e-3), loss=(1e-5, 2e-4), weighted_loss=(1e-4, 2e-4), accuracy=0.05,
    share=None, share_pixels=5, labels=10, gradient=2e-3, values=None, norms=2e-5, change=2e-2)
FLOAT32_JITTERED = replace(FLOAT32_MIT, images=5e-5)
FLOAT32_RESNET = Tolerances(
    images=2e-6, eval_logits=2e-5, logits=(1e-2, 1e-1), loss=(1e-3, 5e-3), weighted_loss=(1e-3, 5e-3), accuracy=0.5,
    share=5e-3, share_pixels=0, labels=0.02, gradient=3e-2, values=5e-4, norms=2.5e-5, change=1e-1)


def tolerances(precision: str, resnet: bool = False, jittered: bool = False) -> Tolerances:
    """Returns the tolerances of a run in ``'f64'`` or ``'f32'``."""
    if precision == 'f64':
        return FLOAT64_JITTERED if jittered else FLOAT64
    return FLOAT32_RESNET if resnet else FLOAT32_JITTERED if jittered else FLOAT32_MIT
