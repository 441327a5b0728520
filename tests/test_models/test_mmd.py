"""Maximum mean discrepancy against its formula."""
import pytest
import torch
from mmseg.registry import MODELS

from mmseg_cicld.models.losses import MaximumMeanDiscrepancy


def vectors(n: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize('sizes', [(4, 5), (2, 3)], ids=str)
@pytest.mark.parametrize('unbiased', [True, False])
def test_value_is_that_of_the_formula(unbiased, sizes):
    x, y = vectors(sizes[0]), vectors(sizes[1], shift=0.5, seed=1)
    every = torch.cat([x, y])
    pairs = [(a - b).square().sum() for i, a in enumerate(every) for j, b in enumerate(every) if i != j]
    scale = sum(pairs) / len(pairs)

    def k(one, other):
        return sum(torch.exp(-(one - other).square().sum() / (b * scale)) for b in (0.5, 2.0)) / 2

    def within(z):
        terms = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j or not unbiased]
        return sum(terms) / len(terms)

    expected = within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    loss = MODELS.build(dict(type='MaximumMeanDiscrepancy', bandwidths=(0.5, 2.0), unbiased=unbiased))
    assert float(loss(x, y)) == pytest.approx(float(expected), rel=1e-12)


def test_unbiased_has_the_mean_zero_for_one_distribution_and_biased_is_never_negative():
    values = {unbiased: torch.stack([MaximumMeanDiscrepancy(unbiased=unbiased)(vectors(10, seed=2 * i), vectors(
        10, seed=2 * i + 1)) for i in range(200)]) for unbiased in (True, False)}
    error = values[True].std() / 200**0.5
    assert abs(float(values[True].mean())) < 3 * float(error)
    assert float(values[False].min()) >= 0 and float(values[False].mean()) > 10 * float(error)


def test_it_grows_with_the_distance_and_its_gradient_brings_the_sets_together():
    loss = MaximumMeanDiscrepancy()
    near, far = (float(loss(vectors(20), vectors(20, shift, seed=1))) for shift in (0.2, 2.0))
    assert far > near
    moved = vectors(20, 2.0, seed=1).requires_grad_()
    loss(vectors(20), moved).backward()
    assert bool((moved.grad.sum(dim=0) > 0).all())  # down the gradient is towards the other set


def test_gradient_is_the_numerical_one_with_the_width_held_fixed():
    loss, x = MaximumMeanDiscrepancy(bandwidths=(1.0, )), vectors(4)
    y = vectors(4, 1.0, seed=1).requires_grad_()
    gradient, = torch.autograd.grad(loss(x, y), y)
    every = torch.cat([x, y.detach()])
    scale = torch.pdist(every).square().mean()

    def fixed(moved):
        kernel = torch.exp(-torch.cdist(torch.cat([x, moved]), torch.cat([x, moved])).square() / scale)
        return (kernel[:4, :4].sum() + kernel[4:, 4:].sum() - 8) / 12 - 2 * kernel[:4, 4:].mean()

    for index in [(0, 0), (2, 1), (3, 2)]:
        step = torch.zeros_like(x)
        step[index] = 1e-6
        numerical = (fixed(y.detach() + step) - fixed(y.detach() - step)) / 2e-6
        assert float(gradient[index]) == pytest.approx(float(numerical), rel=1e-5, abs=1e-9)


def test_mixed_precision_changes_nothing():
    x, y = vectors(20).float(), vectors(20, 0.1, seed=1).float()
    with torch.autocast('cpu', torch.bfloat16):
        mixed = MaximumMeanDiscrepancy()(x, y)
    assert float(mixed) == float(MaximumMeanDiscrepancy()(x, y))


def test_values_of_half_precision_are_computed_in_full():
    x, y = vectors(20).bfloat16(), vectors(20, 0.1, seed=1).bfloat16()
    assert float(MaximumMeanDiscrepancy()(x, y)) == float(MaximumMeanDiscrepancy()(x.float(), y.float()))


def test_equal_vectors_give_zero_and_no_nan():
    same = torch.ones(3, 2, requires_grad=True)
    loss = MaximumMeanDiscrepancy()(same, torch.ones(4, 2))
    loss.backward()
    assert float(loss.detach()) == 0 and bool(torch.isfinite(same.grad).all())


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match=r'bandwidths=\(0.0,\).*all > 0'):
        MaximumMeanDiscrepancy(bandwidths=(0.0, ))
    with pytest.raises(ValueError, match='got 1 and 3 vectors'):
        MaximumMeanDiscrepancy()(vectors(1), vectors(3))
