"""How a latent diffusion head trains and predicts."""
from collections.abc import Mapping
from dataclasses import dataclass

from ..diffusion.class_codes import KINDS


@dataclass(frozen=True)
class InferenceSettings:
    """How a prediction is made. None of it sees a label.

    Args:
        steps: Steps of the scheduler, at most the timesteps up to ``start``; 0 bypasses the denoiser.
        start: Training timestep to start from, the noisiest if None. Training draws no noisier one either.
        noise: ``'keyed'``: noise of ``seed``, the same for every image and window; ``'zero'``: none.
        seed: Seed of that noise, and, in a stream of its own, of schedulers that add more.
        condition: Mask that the denoiser is given with ``condition='mask_attention'``: ``'null'``, or
            ``'prediction'``: its own first prediction, in a second pass.
    """

    steps: int = 1
    start: int | None = None
    noise: str = 'keyed'
    seed: int = 0
    condition: str = 'null'

    def __post_init__(self) -> None:
        one_of('inference.noise', self.noise, ('keyed', 'zero'))
        one_of('inference.condition', self.condition, ('null', 'prediction'))
        if self.steps < 0:
            raise ValueError(f'decode_head.inference.steps is {self.steps}, allowed are values from 0 on')


@dataclass(frozen=True)
class TrainingSettings:
    """How the head is trained.

    Args:
        timesteps: ``'random'``: one timestep a sample, uniformly; ``'start'``: that which inference starts from.
        noise: ``'random'``, or ``'zero'`` to train for an inference without noise, which excludes the noise loss.
        decoder_input: What the decoder learns on: ``'estimate'`` of the clean latent, or the ``'latent'`` itself.
        condition_dropout: Share of samples in [0, 1] that get the null condition in place of a mask.
        denoiser_learns_task: Whether the segmentation loss trains the denoiser too. Otherwise it passes through the
            denoiser to the encoder (Eq. 7 has encoder and decoder only).
        noise_loss_weight: Factor of the noise loss (Eq. 6), which trains the denoiser only.
        prediction_steps: Steps of predictions in training mode, which are those of a teacher; ``inference.steps`` if
            None. A teacher predicts in every iteration, so that 50 steps would take most of the time.
        class_codes: With ``diffused='label'``, the codes of the classes: ``'learned'``, or ``'spread'``, which stay.
        correction: With ``diffused='label'``, factor of the distance-aware correction of the noise loss's target, see
            :func:`~mmseg_cicld.models.diffusion.class_codes.distance_aware_correction`; 0 for none.
    """

    timesteps: str = 'random'
    noise: str = 'random'
    decoder_input: str = 'estimate'
    condition_dropout: float = 0.5
    denoiser_learns_task: bool = False
    noise_loss_weight: float = 1.0
    prediction_steps: int | None = None
    class_codes: str = 'learned'
    correction: float = 0.0

    def __post_init__(self) -> None:
        one_of('training.timesteps', self.timesteps, ('random', 'start'))
        one_of('training.noise', self.noise, ('random', 'zero'))
        one_of('training.decoder_input', self.decoder_input, ('estimate', 'latent'))
        one_of('training.class_codes', self.class_codes, KINDS)
        if not 0 <= self.condition_dropout <= 1 or self.noise_loss_weight < 0:
            raise ValueError(f'decode_head.training: condition_dropout={self.condition_dropout} and noise_loss_weight='
                             f'{self.noise_loss_weight}, allowed are [0, 1] and values from 0 on')
        if self.correction < 0:
            raise ValueError(f'decode_head.training.correction is {self.correction}, allowed are values from 0 on')
        if self.noise == 'zero' and self.noise_loss_weight:
            raise ValueError(f"decode_head.training: with noise='zero', noise_loss_weight={self.noise_loss_weight} "
                             'would teach the denoiser that there is none: set noise_loss_weight=0 and '
                             "denoiser_learns_task=True, or noise='random'")
        if self.prediction_steps is not None and self.prediction_steps < 0:
            raise ValueError(f'decode_head.training.prediction_steps is {self.prediction_steps}, allowed are None and '
                             'values from 0 on')


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises a ``ValueError`` unless the value of ``decode_head.<key>`` is one of the allowed ones."""
    if value not in allowed:
        raise ValueError(f'decode_head.{key} is {value!r}, allowed are {allowed}')


def check_settings(diffused: str, condition: str, mask_encoder: Mapping | None, inference: InferenceSettings,
                   training: TrainingSettings) -> None:
    """Refuses settings that contradict each other.

    Args:
        diffused: What noise is added to, ``'image'`` or ``'label'``.
        condition: What else the denoiser sees.
        mask_encoder: Config of the encoder of masks.
        inference: Settings of predictions.
        training: Settings of training.

    Raises:
        ValueError: If one cannot be with another.
    """
    if diffused == 'label' and condition != 'concat':
        raise ValueError(f"diffused='label' starts from noise, so the denoiser has to see the image: set decode_head."
                         f"condition='concat', got {condition!r}")
    if diffused == 'label' and training.noise == 'zero':
        raise ValueError("diffused='label' with decode_head.training.noise='zero' would show the label to the denoiser, "
                         "only weaker: set training.noise='random'")
    if diffused == 'image' and (training.correction or training.class_codes != 'learned'):
        raise ValueError("decode_head.training.correction and class_codes are for diffused='label': remove them, or set "
                         "diffused='label'")
    bypassed = inference.steps == 0 or training.prediction_steps == 0 or training.decoder_input == 'latent'
    if diffused == 'label' and bypassed:
        raise ValueError("diffused='label' without the denoiser leaves nothing to decode: set "
                         "decode_head.inference.steps to at least 1 and decode_head.training.decoder_input='estimate'")
    if mask_encoder is not None and condition != 'mask_attention':
        raise ValueError(f"decode_head.mask_encoder is not used with condition={condition!r}: remove it, or set "
                         "condition='mask_attention'")
    if mask_encoder is None and condition == 'mask_attention':
        raise ValueError("condition='mask_attention' needs a mask encoder: set decode_head.mask_encoder="
                         "dict(type='ClassEmbeddingMaskEncoder') or ColourMaskEncoder")
    if inference.condition == 'prediction' and condition != 'mask_attention':
        raise ValueError(f"decode_head.inference.condition='prediction' makes a mask, which condition={condition!r} "
                         "has no use for: set decode_head.condition='mask_attention'")
