"""Alignment of latents: its losses against direct formulas, where gradients go, and each way to get the latents."""
import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.models.losses import MaximumMeanDiscrepancy, PixelClassContrastiveLoss
from mmseg_cicld.uda import ClassMixEMA
from mmseg_cicld.uda.objectives.domain_latents import LatentSource
from mmseg_cicld.uda.objectives.source import downscale_labels
from mmseg_cicld.uda.pseudo_labels import PseudoLabelRule

SOURCE, MIX = dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.06)
ADVERSARY = dict(block_channels=(8, 16))
ALIGN = dict(type='LatentDomainAlignment', weight=0.5, adversary=ADVERSARY)
STAGE_TWO = dict(ALIGN, noise_weight=1.0, source=None, mixed=None, mixing=dict(threshold=0.06))


def build(segmentor: dict, objectives, teacher: dict | None = dict(momentum=0.9), **kwargs) -> ClassMixEMA:
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(list(objectives)),
                              teacher=teacher, **kwargs)).double().train()
    for name, parameter in model.student.named_parameters():
        if 'conv_out' in name:  # UNets of diffusers start with an output of almost zero
            parameter.data.mul_(20)
    return model


def step(model: ClassMixEMA, data: dict, lr: float = 0.0) -> tuple[dict, object]:
    """One step; gives its log, and its context, with which the last objective can be asked again."""
    contexts = []
    handle = model.objectives[-1].register_forward_pre_hook(lambda module, args: contexts.append(args[0]))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    handle.remove()
    return log, contexts[0]


def latents_of(model: ClassMixEMA, context, mixed: bool = True) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        target = model.student.extract_feat(context.target.images_BCHW)[-1]
    source = dict(source=context.student_pass('source').latent_BChw)
    again = dict(mixed=context.student_pass('mix').latent_BChw) if mixed else {}
    return source | again | dict(target=target)


def estimates_of(model: ClassMixEMA, context, latents: dict) -> dict:
    """Each domain on its own, from the seeds of its name."""
    head = model.student.decode_head
    return {domain: head.estimate(latent, context.sample_seeds(f'align.{domain}', len(latent)))
            for domain, latent in latents.items()}


@pytest.mark.parametrize('domains', [2, 3])
@pytest.mark.parametrize('kind', ['clean', 'noise'])
def test_losses_are_those_of_the_formulas(diffusing, batch, domains, kind):
    model = build(diffusing(), [SOURCE, MIX, dict(ALIGN, domains=domains, input=kind, noise_weight=0.3)])
    log, context = step(model, batch())
    latents = latents_of(model, context, mixed=domains == 3)
    estimates = estimates_of(model, context, latents)
    inputs = [getattr(estimate, f'{kind}_BChw') for estimate in estimates.values()]
    scores = torch.cat([model.objectives[-1].losses['adversary'].discriminator(part) for part in inputs])
    ids = torch.arange(domains).repeat_interleave(2)
    p = scores.softmax(dim=1)
    expected = dict(loss_confusion=0.5 * (p * (p * domains).log()).sum(dim=1).mean(),
                    loss_discriminator=-p[torch.arange(len(p)), ids].log().mean(),
                    loss_noise=0.3 * sum((estimate.noise_BChw - estimate.true_noise_BChw).square().mean()
                                         for estimate in estimates.values()) / domains)
    for name, value in expected.items():
        assert float(log[f'align.{name}']) == pytest.approx(float(value.detach()), rel=1e-7), name
    timesteps = torch.cat([estimate.timesteps_B for estimate in estimates.values()])
    assert len(timesteps.unique()) > 1  # a random one for each sample


def test_each_kind_of_input_is_another_loss(diffusing, batch):
    values = {float(step(build(diffusing(), [SOURCE, MIX, dict(ALIGN, input=kind, encoder_gradient=True)]),
                         batch())[0]['align.loss_discriminator']) for kind in ('clean', 'noise', 'latent')}
    assert len(values) == 3


def test_comparison_terms_are_those_of_the_formulas(diffusing, batch):
    model = build(diffusing(), [SOURCE, MIX, dict(
        ALIGN, domains=2, weight=None, contrastive=dict(weight=2.0, temperature=0.5, min_ratio=0.5),
        mmd=dict(weight=3.0, pixels=20, unbiased=False))])
    log, context = step(model, batch())
    clean = {domain: estimate.clean_BChw for domain, estimate
             in estimates_of(model, context, latents_of(model, context)).items()}
    mixed = context.mixed(model.objectives[1].rule, model.objectives[1].augmentation)
    sides = [(clean[domain], downscale_labels(labels, 8, 0.5, 19)) for domain, labels
             in (('source', context.source.labels_BHW), ('mixed', mixed.labels_BHW))]
    contrast = 2.0 * PixelClassContrastiveLoss(19, 0.5)(*sides)
    assert float(contrast.detach()) > 0
    assert float(log['align.loss_contrastive']) == pytest.approx(float(contrast.detach()), rel=1e-7)
    chosen = [context.uniform('align.pixels', index, size=64).argsort()[:20] for index in (0, 1)]
    vectors = [torch.cat([clean[domain][i].flatten(1).T[chosen[i]] for i in (0, 1)]) for domain in ('source', 'target')]
    discrepancy = 3.0 * MaximumMeanDiscrepancy(unbiased=False)(*vectors)
    assert float(log['align.loss_mmd']) == pytest.approx(float(discrepancy.detach()), rel=1e-7)
    assert not any('confusion' in name for name in log)


def test_contrast_adds_its_own_loss_and_changes_no_other(diffusing, batch):
    """Two domains: neither adversary nor noise loss sees the mixed images that the contrast takes."""
    pair = dict(ALIGN, domains=2, noise_weight=0.3)
    plain, contrasted = (step(build(diffusing(), [SOURCE, MIX, dict(pair, **more)]), batch())[0]
                         for more in ({}, dict(contrastive=dict(min_ratio=0.25))))
    assert 'align.loss_contrastive' in contrasted
    for name in ('loss_noise', 'loss_confusion', 'loss_discriminator'):
        assert float(contrasted[f'align.{name}']) == pytest.approx(float(plain[f'align.{name}']), rel=1e-9), name


def reached(model: ClassMixEMA, loss: torch.Tensor) -> set[str]:
    """Names of the parts of the model to which a loss has a gradient that is not zero."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True, retain_graph=True)
    parts = {'student.backbone': 'encoder', 'student.neck': 'neck', 'student.decode_head.denoiser': 'denoiser',
             'student.decode_head': 'decoder', 'objectives': 'discriminator', 'teacher': 'teacher'}
    moved = [name for (name, _), gradient in zip(named, gradients)
             if gradient is not None and float(gradient.abs().max()) > 0]
    return {next(part for prefix, part in parts.items() if name.startswith(prefix)) for name in moved}


EVERYTHING = dict(ALIGN, noise_weight=1.0, contrastive=dict(min_ratio=0.25), mmd=dict(pixels=16))


@pytest.mark.parametrize('encoder, kind', [(False, 'clean'), (False, 'noise'), (True, 'clean'), (True, 'latent')])
def test_gradients_reach_what_they_should(diffusing, batch, encoder, kind):
    model = build(diffusing(), [SOURCE, MIX, dict(EVERYTHING, encoder_gradient=encoder, input=kind)])
    _, context = step(model, batch())
    losses = model.objectives[-1](context)
    own = {'denoiser'} if not encoder else {'encoder', 'neck'} if kind == 'latent' else {'encoder', 'neck', 'denoiser'}
    for name in ('loss_confusion', 'loss_contrastive', 'loss_mmd'):
        assert reached(model, losses[name]) == own, name
    assert reached(model, losses['loss_discriminator']) == {'discriminator'}
    assert 'denoiser' in reached(model, losses['loss_noise']) <= own | {'denoiser'}


def test_source_labels_do_not_reach_the_denoiser(diffusing, batch):
    """Two domains without mixing: whatever the labels are, the domains look the same."""
    logs = []
    for classes in (19, 2):
        model = build(diffusing(), [SOURCE, dict(ALIGN, domains=2)], teacher=None)
        logs.append(step(model, batch(classes=classes))[0])
    assert logs[0]['source.decode.loss_ce'] != logs[1]['source.decode.loss_ce']
    for name in ('loss_confusion', 'loss_discriminator'):
        assert float(logs[0][f'align.{name}']) == float(logs[1][f'align.{name}'])


def test_second_stage_changes_the_denoiser_alone(diffusing, batch):
    model = build(diffusing(), [STAGE_TWO], train_only=['decode_head.denoiser'])
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        log, _ = step(model, batch(), lr=0.1)
    moved = {name for name, value in model.student.state_dict().items()
             if not torch.equal(value, before[f'student.{name}'])}
    assert moved and all(name.startswith('decode_head.denoiser.') for name in moved)  # batch statistics neither
    teacher, averaged = model.teacher.network.state_dict(), dict(model.teacher.network.named_parameters())
    for name, value in teacher.items():
        kept = before[f'teacher.network.{name}']
        if name not in averaged:
            assert torch.equal(value, kept), name
        elif not name.startswith('decode_head.denoiser.'):  # averaging equal weights rounds them
            torch.testing.assert_close(value, kept, rtol=1e-12, atol=0)
    assert float(log['align.loss_noise']) > 0
    assert {key.split('.')[0] for key in log} == {'loss', 'align'}


def test_latents_of_the_encoder_are_aligned_without_a_denoiser(diffusing, batch):
    model = build(diffusing(denoiser=None), [SOURCE, MIX, dict(ALIGN, input='latent', encoder_gradient=True)])
    assert float(step(model, batch())[0]['align.loss_confusion']) > 0


def test_latents_used_again_are_those_of_encoding_once_more(diffusing, batch):
    again = dict(ALIGN, source=None, mixed=None, mixing=dict(threshold=0.06))
    one, other = (float(step(build(diffusing(), [SOURCE, MIX, last]), batch())[0]['align.loss_discriminator'])
                  for last in (ALIGN, again))
    assert one == pytest.approx(other, rel=1e-9)


def test_mixed_pixels_without_weight_have_no_label(diffusing, batch):
    """A pixel of the target whose pseudo-label does not count is of no class in a comparison of classes."""
    mixing = dict(threshold=0.06, ignore_top=20, ignore_bottom=9)
    _, context = step(build(diffusing(), [dict(STAGE_TWO, mixing=mixing)]), batch())
    source = LatentSource(source=None, mixed=None, mixing=mixing, encoder_gradient=False)
    labels = source(context, 'align', 'mixed').labels_BHW
    mixed = context.mixed(PseudoLabelRule(**mixing), source.augmentation)
    uncounted = mixed.weights_BHW == 0
    assert 0 < int(uncounted.sum()) < uncounted.numel() and not bool((mixed.labels_BHW[uncounted] == 255).all())
    assert bool((labels[uncounted] == 255).all())
    assert torch.equal(labels[~uncounted], mixed.labels_BHW[~uncounted])


def test_two_scales(diffusing, batch):
    config = diffusing()
    config.update(type='HRDAEncoderDecoder', hr_crop_size=(32, 32))
    config['decode_head'].update(type='HRDAHead', single_scale_head='LatentDiffusionHead', fixed_attention=0.5)
    model = build(config, [SOURCE, MIX, dict(EVERYTHING, contrastive=dict(min_ratio=0.0))])
    log, context = step(model, batch())
    assert context.student_pass('mix').latent_BChw.shape == (2, 4, 4, 4)  # the context: half the size
    assert float(log['align.loss_confusion']) > 0 and float(log['align.loss_contrastive']) > 0


def test_pretraining_of_the_denoiser_learns_the_noise(diffusing, batch):
    """No labels, no adversary: the noise loss over source and target."""
    config = dict(type='LatentDomainAlignment', domains=2, weight=None, noise_weight=1.0, source=None)
    model = build(diffusing(), [config], teacher=None, train_only=['decode_head.denoiser'])
    losses = [float(step(model, batch(), lr=0.05)[0]['align.loss_noise']) for _ in range(25)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize('change, message', [
    (dict(domains=4), r"domains=4, input='clean', allowed are \[2, 3\]"),
    (dict(input='pixels'), "input='pixels', allowed are"),
    (dict(input='latent'), "would train nothing.*set encoder_gradient=True"),
    (dict(weight=None), 'has nothing to do'),
    (dict(mixed=None), "mixed=None and mixing=None: give the name"),
    (dict(mixing=dict(threshold=0.9)), "mixed='mix' and mixing=.*give the name"),
])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(ALIGN, **change))


def test_what_is_missing_is_named(segmentor, diffusing, batch):
    with pytest.raises(TypeError, match='a SegformerHead, which has no estimate: set model.segmentor.decode_head'):
        build(segmentor(), [SOURCE, MIX, ALIGN])
    with pytest.raises(ValueError, match="decode_head.denoiser is None: set it, .*got input='clean', noise_weight=0.0"):
        build(diffusing(denoiser=None), [SOURCE, MIX, ALIGN])
    without = dict(noise='zero', noise_loss_weight=0)
    with pytest.raises(ValueError, match="noise_weight=0.5 would teach .*decode_head.training.noise is 'zero'"):
        build(diffusing(training=without), [SOURCE, MIX, dict(ALIGN, noise_weight=0.5)])
    with pytest.raises(ValueError, match="'mix' comes later in model.objectives: move it before 'align'"):
        build(diffusing(), [SOURCE, ALIGN, MIX])
    with pytest.raises(ValueError, match=r"\['align'\] need a teacher"):
        build(diffusing(), [STAGE_TWO], teacher=None)
    with pytest.raises(ValueError, match=r"train_only=\['decode_head.unet'\]: .* its parts are \['backbone.layer1'"):
        build(diffusing(), [STAGE_TWO], train_only=['decode_head.unet'])
