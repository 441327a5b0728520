"""Alignment of the denoised latents of the domains (CICLD, Yu et al., 2024, Eq. 6 and 8 and Table 2).

Shape suffixes: B images, C channels, H and W size of the images, h and w size of the latents, N pixels.
"""
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...models.segmentor_protocol import TrainableSegmentor
from ..step_context import StepContext
from .domain_latents import DomainLatents, LatentSource
from .objective import NeededPass, Objective
from .source import downscale_labels

DOMAINS = {2: ('source', 'target'), 3: ('source', 'mixed', 'target')}
INPUTS = ('clean', 'noise', 'latent')


@MODELS.register_module()
class LatentDomainAlignment(Objective):
    """Brings the latents of the domains together, for segmentors with a :class:`LatentDiffusionHead`.

    Each latent is noised and denoised at one random timestep, which gives the mean over the denoising steps of the
    paper without bias. A discriminator then learns to tell the domains, the denoiser to leave it undecided. Gradients
    reach the denoiser and the discriminator alone. No domain shows its labels to the denoiser: the target has none, and
    the discriminator would tell the domains by that.

    Args:
        domains: 3 (source, mixed, target; the paper's) or 2 (source, target): what adversary and noise loss see.
        input: What is aligned: ``'clean'``, the estimate of the clean latent; ``'noise'``, the predicted noise (second
            version of the paper; close to white noise in every domain once the denoiser is good); or ``'latent'``, the
            encoder's own (Eq. 8), which needs ``encoder_gradient``.
        weight: Factor of the denoiser's part of the adversarial loss (the paper gives none). None: no adversary.
        adversary: Further arguments of :class:`DomainAdversarialLoss`.
        noise_weight: Factor of the noise loss (Eq. 6) over the same estimates of the domains. It is a mean square
            of noise, whatever the scheduler's prediction type.
        contrastive: ``dict(weight=1.0, temperature=0.1, min_ratio=0.75)``, class contrast between source and mixed
            images after CLUDA, whatever ``domains`` says. ``min_ratio``: least share of the majority class below a
            place of the latent, which else has no class. None: off.
        mmd: ``dict(weight=1.0, pixels=256, bandwidths=..., unbiased=True)``, the maximum mean discrepancy of source and
            target over that many random places of each latent. None: off.
        encoder_gradient: Lets the gradients go on into encoder and neck.
        source: Name of the objective whose source latents are used again, None to encode the images here.
        mixed: The same for the mixed images.
        mixing: How images are mixed with ``mixed=None``: ``dict(threshold=0.968, ...)``, as in
            ``ClassMixSelfTraining``.
        name: Prefix in the log.

    Raises:
        ValueError: If values are unknown or contradict each other.
    """

    needs_target = True

    def __init__(self, domains: int = 3, input: str = 'clean', weight: float | None = 0.01,
                 adversary: dict | None = None, noise_weight: float = 0.0, contrastive: dict | None = None,
                 mmd: dict | None = None, encoder_gradient: bool = False, source: str | None = 'source',
                 mixed: str | None = 'mix', mixing: dict | None = None, name: str = 'align') -> None:
        super().__init__(name)
        if domains not in DOMAINS or input not in INPUTS:
            raise ValueError(f"LatentDomainAlignment got domains={domains}, input='{input}', allowed are "
                             f'{list(DOMAINS)} and {INPUTS}')
        if input == 'latent' and not encoder_gradient:
            raise ValueError("LatentDomainAlignment with input='latent' would train nothing, since no gradient reaches "
                             "the encoder: set encoder_gradient=True, or input='clean'")
        if weight is None and not noise_weight and contrastive is None and mmd is None:
            raise ValueError('LatentDomainAlignment has nothing to do: give weight, noise_weight, contrastive or mmd')
        self.domains = DOMAINS[domains]
        self._needs_mixed = 'mixed' in self.domains or contrastive is not None
        if self._needs_mixed and (mixed is None) != (mixing is not None):
            raise ValueError(f'LatentDomainAlignment got mixed={mixed!r} and mixing={mixing}: give the name of an '
                             'objective that mixes, or mixed=None and mixing=dict(threshold=0.968)')
        self.input, self.weight, self.noise_weight = input, weight, noise_weight
        self.needs_teacher = self._needs_mixed and mixed is None
        self.latents = LatentSource(source, mixed, mixing, encoder_gradient)
        self.contrastive, self.mmd = _weighted(contrastive, min_ratio=0.75), _weighted(mmd, pixels=256)
        self._adversary = adversary or {}
        self.losses = nn.ModuleDict()

    @property
    def needs(self) -> Mapping[str, NeededPass]:
        """Latents of source and mixed images, unless they are encoded here."""
        return self.latents.needs(self._needs_mixed)

    def attach(self, student: TrainableSegmentor) -> None:
        """Builds the losses for the student's latents.

        Raises:
            TypeError: If the student's head does not denoise latents.
            ValueError: If the head lacks the denoiser that is needed, or learns from no noise.
        """
        head = diffusion_head(student)
        self._check_head(head)
        if self.needs_teacher:
            self.latents.augmentation.check(student.normalisation, f'mixing.augmentation of {self.name}')
        if self.weight is not None:
            self.losses['adversary'] = MODELS.build(dict(
                type='DomainAdversarialLoss', in_channels=head.latent_channels, domains=len(self.domains),
                **self._adversary))
        if self.contrastive:
            self.losses['contrastive'] = MODELS.build(dict(
                type='PixelClassContrastiveLoss', num_classes=student.num_classes, **self.contrastive['arguments']))
        if self.mmd:
            self.losses['mmd'] = MODELS.build(dict(type='MaximumMeanDiscrepancy', **self.mmd['arguments']))

    def _check_head(self, head: nn.Module) -> None:
        if head.denoiser is None and self._denoises:
            raise ValueError(
                'LatentDomainAlignment needs a denoiser, but model.segmentor.decode_head.denoiser is None: set it, '
                f"remove the objective, or align the encoder's latents alone (input='latent', noise_weight=0, got "
                f'input={self.input!r}, noise_weight={self.noise_weight})')
        if self.noise_weight and head.training_settings.noise == 'zero':
            raise ValueError(
                f'LatentDomainAlignment with noise_weight={self.noise_weight} would teach the denoiser that there is '
                "no noise, since model.segmentor.decode_head.training.noise is 'zero': set noise_weight=0 of the "
                "objective, or training.noise='random'")

    @property
    def _denoises(self) -> bool:
        return self.input != 'latent' or bool(self.noise_weight)

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses of one step."""
        # The contrast alone sees mixed images that are none of the domains; they come last.
        extra = () if self.contrastive is None or 'mixed' in self.domains else ('mixed', )
        latents = {domain: self.latents(context, self.name, domain) for domain in (*self.domains, *extra)}
        aligned, log = self._estimates(context, latents)
        if self.weight is not None:
            adversarial = self.losses['adversary']([aligned[domain].latents_BChw for domain in self.domains])
            log.update(adversarial, loss_confusion=self.weight * adversarial['loss_confusion'])
        if self.contrastive:
            contrast = self._contrast(aligned['source'], aligned['mixed'], context.student.ignore_index)
            log['loss_contrastive'] = self.contrastive['weight'] * contrast
        if self.mmd:
            vectors = [self._some_pixels(context, aligned[domain].latents_BChw) for domain in ('source', 'target')]
            log['loss_mmd'] = self.mmd['weight'] * self.losses['mmd'](*vectors)
        return log

    def _estimates(self, context: StepContext,
                   latents: dict[str, DomainLatents]) -> tuple[dict[str, DomainLatents], dict[str, Tensor]]:
        """Denoises all latents in one forward; returns what is aligned, and the noise loss of the domains."""
        if not self._denoises:
            return latents, {}
        sizes = [len(part.latents_BChw) for part in latents.values()]
        seeds = [seed for domain, size in zip(latents, sizes)
                 for seed in context.sample_seeds(f'{self.name}.{domain}', size)]
        together = torch.cat([part.latents_BChw for part in latents.values()])
        estimate = diffusion_head(context.student).estimate(together, seeds)
        chosen = dict(clean=estimate.clean_BChw, noise=estimate.noise_BChw, latent=together)[self.input]
        aligned = {domain: part._replace(latents_BChw=features) for (domain, part), features
                   in zip(latents.items(), chosen.split(sizes))}
        if not self.noise_weight:
            return aligned, {}
        count = sum(sizes[:len(self.domains)])
        noise_loss = F.mse_loss(estimate.noise_BChw[:count], estimate.true_noise_BChw[:count])
        return aligned, dict(loss_noise=self.noise_weight * noise_loss)

    def _contrast(self, source: DomainLatents, mixed: DomainLatents, ignore_index: int) -> Tensor:
        labelled = [(part.latents_BChw, self._coarse_labels(part, ignore_index)) for part in (source, mixed)]
        return self.losses['contrastive'](*labelled)

    def _coarse_labels(self, part: DomainLatents, ignore_index: int) -> Tensor:
        classes = self.losses['contrastive'].num_classes
        size, full = tuple(part.latents_BChw.shape[2:]), tuple(part.labels_BHW.shape[1:])
        factor = full[0] // size[0]
        if (size[0] * factor, size[1] * factor) != full:
            raise ValueError(f'latents of size {size} do not divide labels of size {full}: make the crop size of the '
                             'training pipelines a multiple of the stride of the latent')
        return downscale_labels(part.labels_BHW, factor, self.contrastive['min_ratio'], classes, ignore_index)

    def _some_pixels(self, context: StepContext, latents_BChw: Tensor) -> Tensor:
        """Returns the vectors [N, C] of ``pixels`` places of each sample, drawn without repetition."""
        vectors_BNC, chosen = latents_BChw.flatten(2).transpose(1, 2), []
        for index in context.sample_indices(len(latents_BChw)):
            scores_N: np.ndarray = context.uniform(f'{self.name}.pixels', index, size=vectors_BNC.shape[1])
            chosen.append(np.argsort(scores_N)[:self.mmd['pixels']])
        index_BN = torch.from_numpy(np.stack(chosen)).to(latents_BChw.device, non_blocking=True)
        return vectors_BNC.gather(1, index_BN[..., None].expand(-1, -1, vectors_BNC.shape[2])).flatten(0, 1)


def diffusion_head(student: TrainableSegmentor, asking: str = 'LatentDomainAlignment') -> nn.Module:
    """Returns the head of a student that denoises latents, for an objective of the name ``asking``.

    Raises:
        TypeError: If there is none.
    """
    if student.denoising_head is None:
        raise TypeError(f'{asking} needs a head that denoises latents, but segmentor.decode_head is a '
                        f"{type(student.main_head).__name__}, which has no estimate: set model.segmentor.decode_head."
                        "type='LatentDiffusionHead' and model.segmentor.neck.type='InterCoderNeck', or remove the "
                        'objective')
    return student.denoising_head


def _weighted(config: dict | None, **own: float) -> dict | None:
    """Splits the config of a comparison term into its weight, the objective's own keys, and the loss's arguments."""
    if config is None:
        return None
    arguments = dict(config)
    taken = {key: arguments.pop(key, value) for key, value in dict(own, weight=1.0).items()}
    return dict(taken, arguments=arguments)
