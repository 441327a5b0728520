"""Distributions of logits and the shift to their anchors, against direct formulas."""
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from mmseg_cicld.models.losses import GaussianMixtures, LogitBalance
from mmseg_cicld.models.losses.gaussian_mixtures import Values

CLASSES = 3


def everything(values: torch.Tensor) -> list[Values]:
    """All values are of the one group there is; in two parts."""
    return [Values(part, lambda groups, part=part: groups.expand(*part.shape, -1), lambda sums: sums.sum((0, 1))[None])
            for part in values.split(len(values) // 2 + 1)]


def one_group(values: torch.Tensor, **kwargs) -> GaussianMixtures:
    mixtures = GaussianMixtures((1, ), **kwargs)
    mixtures.fit(everything(values), min_count=1)
    return mixtures


def two_peaks(count: int = 4000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return torch.cat([noise[: count // 4] * 0.5 - 3, noise[count // 4:] + 2])


def test_rounds_of_em_are_those_of_the_formulas():
    values = two_peaks(400)
    found = one_group(values, components=2, rounds=3)
    x = values[:, 0].numpy()
    weights, means, variances = np.full(2, 0.5), x.mean() + x.std() * norm.ppf([0.25, 0.75]), np.full(2, x.var())
    for _ in range(3):
        shares = weights * norm.pdf(x[:, None], means, np.sqrt(variances))
        shares /= shares.sum(1, keepdims=True)
        total = shares.sum(0)
        weights, means = total / len(x), (shares * x[:, None]).sum(0) / total
        variances = (shares * (x[:, None] - means)**2).sum(0) / total
    for buffer, expected in ((found.weights, weights), (found.means, means), (found.variances, variances)):
        np.testing.assert_allclose(buffer[0].numpy(), expected, rtol=1e-9)


def test_enough_rounds_find_the_peaks():
    found = one_group(two_peaks(), components=2, rounds=60)
    torch.testing.assert_close(found.means[0].sort().values, torch.tensor([-3., 2.], dtype=torch.float64), atol=0.15, rtol=0)
    torch.testing.assert_close(found.weights.sum(), torch.ones((), dtype=torch.float64))
    assert sorted(found.weights[0].tolist()) == pytest.approx([0.25, 0.75], abs=0.03)


def test_values_far_from_the_components_lose_none_of_them():
    values = two_peaks(200)
    mixtures = one_group(values)
    for _ in range(3):
        mixtures.fit(everything(values + 1e4), min_count=1)
    assert all(torch.isfinite(buffer).all() for buffer in mixtures.buffers())
    assert float(mixtures.variances.min()) >= 1e-4


def test_moving_average_warms_up_and_forgets_what_was_long_not_seen():
    values, warmup, momentum = two_peaks(100), 4, 0.8
    mixtures = one_group(values, components=1, rounds=1, momentum=momentum, warmup=warmup)
    expected, since = float(values.mean()), 1  # the first step takes what it sees
    for step in range(1, 8):
        if step in (3, 4):  # too few values: nothing moves, and the step counts for nothing
            mixtures.fit(everything(values * 0 + 100), min_count=1e6)
            continue
        share = momentum * min(int(mixtures.steps) / warmup, 1)
        mixtures.fit(everything(values + step), min_count=1)
        expected = share**since * expected + (1 - share**since) * float((values + step).mean())
        assert float(mixtures.means) == pytest.approx(expected)
    assert int(mixtures.steps) == 6


def test_a_group_that_is_seldom_seen_weighs_its_new_values_more():
    mixtures = GaussianMixtures((2, ), components=1, rounds=1, momentum=0.9, warmup=1)
    values = torch.tensor([[0., 0.], [2., 2.]], dtype=torch.float64)  # group 0 in the first column, group 1 in the second

    def fit(shift: float, second: bool) -> None:
        member = torch.tensor([[1., float(second)]], dtype=torch.float64)
        mixtures.fit([Values(values + shift, lambda groups: groups.expand(2, -1, -1),
                             lambda sums: (sums * member[..., None]).sum(0))], min_count=1)

    fit(0., True)
    fit(10., False)
    fit(10., False)
    fit(10., True)  # third step in which group 1 was not fitted since: 0.9 to the power of 3
    assert float(mixtures.means[1]) == pytest.approx(0.9**3 * 1 + (1 - 0.9**3) * 11)
    assert mixtures.steps_since.tolist() == [1, 1]


def test_density_is_that_of_scipy():
    mixtures = one_group(two_peaks(300), components=3)
    values = torch.linspace(-6, 6, 25, dtype=torch.float64)
    expected = sum(float(w) * norm.cdf(values.numpy(), float(m), math.sqrt(float(v))) for w, m, v in
                   zip(mixtures.weights[0], mixtures.means[0], mixtures.variances[0], strict=True))
    np.testing.assert_allclose(mixtures.cdf(values[None])[0].numpy(), expected, rtol=1e-9)


def observed(sets: int = 1, **kwargs) -> tuple[LogitBalance, torch.Tensor, torch.Tensor]:
    balance = LogitBalance(CLASSES, sets=sets, min_pixels=20, **kwargs)
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(-1, CLASSES, (900, ), generator=generator)
    logits = torch.randn(900, CLASSES, generator=generator, dtype=torch.float64)
    logits += torch.tensor([3., 0.5, -1.], dtype=torch.float64)  # class 0 is over-predicted
    logits[labels >= 0] += 2 * torch.eye(CLASSES, dtype=torch.float64)[labels[labels >= 0]]
    balance.observe(0, logits, labels, anchors=True)
    return balance, logits, labels


def test_distributions_are_those_of_the_logits_of_each_pair_and_of_own_and_other_classes():
    balance, logits, labels = observed()
    for label in range(CLASSES):
        for channel in range(CLASSES):
            values = logits[labels == label, channel]
            weights, means = balance.pairs[0].weights[label, channel], balance.pairs[0].means[label, channel]
            assert float((weights * means).sum()) == pytest.approx(float(values.mean()))  # EM keeps the mean
    own = torch.nn.functional.one_hot(labels.clamp(min=0), CLASSES).bool() & (labels >= 0)[:, None]
    others = ~own & (labels >= 0)[:, None]
    for anchor, member in enumerate((own, others)):
        found = float((balance.anchors.weights[anchor] * balance.anchors.means[anchor]).sum())
        assert found == pytest.approx(float(logits[member].mean()))


def exact_shift(balance: LogitBalance, label: int, channel: int, value: float) -> float:
    """``F_anchor^-1(F_lc(z)) - z`` by root finding."""

    def density(mixture, at: float, *group: int) -> float:
        return float((mixture.weights[group] * torch.special.ndtr((at - mixture.means[group]) /
                                                                  mixture.variances[group].sqrt())).sum())

    wanted = min(max(density(balance.pairs[0], value, label, channel), balance.tail), 1 - balance.tail)
    anchor = 0 if label == channel else 1
    return brentq(lambda at: density(balance.anchors, at, anchor) - wanted, -50, 50, xtol=1e-10) - value


def test_shift_is_that_of_the_formula():
    balance, _, _ = observed()
    generator = torch.Generator().manual_seed(4)
    logits = 3 * torch.randn(2, CLASSES, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (2, 4, 5), generator=generator)
    shift = balance.shift(torch.zeros_like(labels), logits, labels)
    for image, channel, row, column in np.ndindex(*shift.shape):
        expected = exact_shift(balance, int(labels[image, row, column]), channel, float(logits[image, channel, row, column]))
        assert float(shift[image, channel, row, column]) == pytest.approx(expected, abs=2e-3)


def test_what_is_predicted_too_easily_is_moved_down():
    balance, logits, labels = observed()
    maps = logits.T.reshape(1, CLASSES, 30, 30)
    labels = labels.reshape(1, 30, 30)
    shift = balance.shift(torch.zeros_like(labels), maps, labels)
    means = [float(shift[0, channel][labels[0] == channel].mean()) for channel in range(CLASSES)]
    assert means[0] < -0.5 and means[2] > 0.5
    aligned = maps + shift
    spread = [torch.stack([values[0, channel][labels[0] == channel].mean() for channel in range(CLASSES)]).std()
              for values in (maps, aligned)]
    assert spread[1] < 0.1 * spread[0]
    assert (shift[:, :, labels[0] == -1] == 0).all()


def test_what_was_not_seen_enough_is_not_shifted():
    balance = LogitBalance(CLASSES, sets=2, min_pixels=20)
    labels = torch.tensor([0] * 30 + [1] * 10)
    balance.observe(1, torch.randn(40, CLASSES), labels)
    assert balance.pairs[1].seen.all(dim=1).tolist() == [True, False, False] and not balance.pairs[0].seen.any()
    maps, classes, sets = torch.randn(1, CLASSES, 1, 2), torch.tensor([[[0, 1]]]), torch.ones(1, 1, 2, dtype=torch.long)
    assert not balance.shift(sets, maps, classes).any()  # without anchors there is nowhere to go
    balance.observe(0, torch.randn(40, CLASSES), labels, anchors=True)
    shift = balance.shift(sets, maps, classes)
    assert shift[..., 0].all() and not shift[..., 1].any()
    assert not balance.shift(sets * 0, maps, classes)[..., 1].any()


def test_a_pixel_may_stand_for_several():
    balance = LogitBalance(CLASSES, sets=1, min_pixels=20)
    balance.observe(0, torch.randn(6, CLASSES), torch.tensor([0] * 5 + [1]), pixels_each=4)
    assert balance.pairs[0].seen.all(dim=1).tolist() == [True, False, False]


def test_each_pixel_has_the_distributions_of_its_set():
    balance, logits, labels = observed(sets=2)
    balance.observe(1, logits + 4, labels)
    maps = logits[:8].T.reshape(1, CLASSES, 2, 4)
    classes = torch.zeros(1, 2, 4, dtype=torch.long)
    sets = torch.tensor([[[0, 1, 0, 1], [1, 1, 0, 0]]])
    mixed = balance.shift(sets, maps, classes)
    for number in (0, 1):
        alone = balance.shift(torch.full_like(sets, number), maps, classes)
        assert torch.equal(mixed[:, :, sets[0] == number], alone[:, :, sets[0] == number])
    assert not torch.equal(*(balance.shift(torch.full_like(sets, n), maps, classes) for n in (0, 1)))
