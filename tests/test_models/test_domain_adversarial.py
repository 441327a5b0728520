"""The domain adversary against its formulas, and where its gradients go."""
import math

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_cicld.models.losses import DomainAdversarialLoss
from mmseg_cicld.models.losses.domain_adversarial import divergence_from_uniform


def adversary(domains: int = 3, **kwargs) -> DomainAdversarialLoss:
    torch.manual_seed(0)
    return MODELS.build(dict(type='DomainAdversarialLoss', in_channels=4, domains=domains, block_channels=(8, 16),
                             **kwargs)).double()


def features(domains: int = 3, size: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 4, size, size, generator=generator, dtype=torch.float64).requires_grad_()
            for _ in range(domains)]


def gradients(loss: torch.Tensor, *leaves: torch.Tensor) -> list[torch.Tensor | None]:
    return list(torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True))


@pytest.mark.parametrize('domains', [2, 3])
@pytest.mark.parametrize('divergence', ['prediction_to_uniform', 'uniform_to_prediction'])
def test_losses_are_those_of_the_formulas(domains, divergence):
    loss, maps = adversary(domains, divergence=divergence), features(domains)
    log = loss(maps)
    p = torch.stack([loss.discriminator(image[None])[0].softmax(0) for part in maps for image in part])
    ids = [index for index in range(domains) for _ in range(2)]
    cross_entropy = -sum(p[row, index].log() for row, index in enumerate(ids)) / len(ids)
    u = 1 / domains
    if divergence == 'prediction_to_uniform':
        kl = sum(q * (q / u).log() for row in p for q in row) / len(ids)
    else:
        kl = sum(u * (u / q).log() for row in p for q in row) / len(ids)
    assert float(log['loss_discriminator']) == pytest.approx(float(cross_entropy), rel=1e-12)
    assert float(log['loss_confusion']) == pytest.approx(float(kl), rel=1e-9)
    hits = sum(int(row.argmax()) == index for row, index in zip(p, ids))
    assert float(log['acc_discriminator']) == pytest.approx(100 * hits / len(ids))


def test_each_loss_reaches_its_own_side_alone():
    loss, maps = adversary(), features()
    log, own = loss(maps), list(loss.discriminator.parameters())
    assert all(gradient is None for gradient in gradients(log['loss_confusion'], *own))
    assert all(gradient is None for gradient in gradients(log['loss_discriminator'], *maps))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients(log['loss_confusion'], *maps))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients(log['loss_discriminator'], *own))


@pytest.mark.parametrize('direction', ['prediction_to_uniform', 'uniform_to_prediction'])
def test_undecided_is_the_minimum(direction):
    logits = torch.full((2, 3), 0.7, dtype=torch.float64, requires_grad=True)
    loss = divergence_from_uniform(logits, direction)
    assert float(loss) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(gradients(loss, logits)[0], torch.zeros_like(logits))
    assert float(divergence_from_uniform(torch.tensor([[3., 0., 0.]]), direction)) > 0


def test_a_sure_discriminator_gives_a_gradient_in_one_direction_only():
    logits = torch.tensor([[40., 0., 0.]], dtype=torch.float64, requires_grad=True)
    as_written, other = (divergence_from_uniform(logits, direction)
                         for direction in ('prediction_to_uniform', 'uniform_to_prediction'))
    assert float(as_written) == pytest.approx(math.log(3))
    assert float(gradients(as_written, logits)[0].abs().max()) < 1e-12
    assert float(gradients(other, logits)[0].abs().max()) == pytest.approx(2 / 3)


def test_the_two_sides_play_against_each_other():
    """The discriminator alone learns to tell the domains apart; the features alone make it undecided again."""
    loss, maps = adversary(2, divergence='uniform_to_prediction'), features(2)
    step = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(40):
        step.zero_grad()
        loss(maps)['loss_discriminator'].backward()
        step.step()
    told = loss(maps)
    assert float(told['acc_discriminator']) == 100 and float(told['loss_confusion']) > 0.1
    weights = [parameter.clone() for parameter in loss.parameters()]
    step = torch.optim.Adam(maps, lr=5e-2)
    for _ in range(40):
        step.zero_grad()
        loss(maps)['loss_confusion'].backward()
        step.step()
    assert float(loss(maps)['loss_confusion']) < 0.5 * float(told['loss_confusion'])
    assert all(torch.equal(before, after) for before, after in zip(weights, loss.parameters()))


def test_network_is_that_of_the_paper_and_takes_any_size():
    loss = adversary()
    linear = [(layer.in_features, layer.out_features) for layer in loss.discriminator.classifier
              if isinstance(layer, torch.nn.Linear)]
    assert linear == [(16, 1024), (1024, 3)]
    assert all(math.isfinite(float(loss(features(size=size))['loss_confusion'])) for size in (3, 8, 17))


@pytest.mark.parametrize('change, message', [
    (dict(domains=4), r'domains=4, allowed are 2 \(source, target\) and 3'),
    (dict(divergence='both'), "divergence='both', allowed are"),
])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DomainAdversarialLoss(in_channels=4, **change)


def test_a_missing_domain_is_named():
    with pytest.raises(ValueError, match='domains=3 got the features of 2'):
        adversary()(features(2))
