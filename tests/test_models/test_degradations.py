"""Schedules and degradations against direct formulas and the statistics that they promise."""
import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_cicld.models.diffusion.schedules import alpha_bars

KINDS = dict(
    noise=dict(type='NoiseDegradation'),
    coarse_noise=dict(type='NoiseDegradation', noise_stride=4),
    blur=dict(type='BlurDegradation'),
    block=dict(type='MaskDegradation', block=8),
    blob=dict(type='MaskDegradation', shape='blob', sigma=3.0))
KINDS['mixed'] = dict(type='MixedDegradation', degradations=list(KINDS.values()))


def images(count: int = 2, height: int = 64, width: int = 48) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('steps', [1, 7, 100])
def test_sigmoid_schedule_is_the_direct_formula(steps):
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def left(t: float) -> float:  # Jabri et al.: gamma(t), start -3, end 3, tau 1
        return (sigmoid(3) - sigmoid(6 * t - 3)) / (sigmoid(3) - sigmoid(-3))

    expected, product = [], 1.0
    for step in range(steps):
        product *= 1 - min(1 - left((step + 1) / steps) / left(step / steps), 0.999)
        expected.append(product)
    torch.testing.assert_close(alpha_bars(steps, 'sigmoid'), torch.tensor(expected, dtype=torch.float64), rtol=1e-4,
                               atol=1e-6)


def test_cosine_and_linear_schedules_are_the_direct_formulas():
    def left(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2)**2

    product, cosine = 1.0, []
    for step in range(100):
        product *= 1 - min(1 - left((step + 1) / 100) / left(step / 100), 0.999)
        cosine.append(product)
    torch.testing.assert_close(alpha_bars(100, 'cosine').tolist(), cosine, rtol=1e-4, atol=1e-6)
    linear = torch.cumprod(1 - torch.linspace(0.001, 0.2, 100), 0).double()
    torch.testing.assert_close(alpha_bars(100, 'linear'), linear, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('schedule', ['sigmoid', 'cosine', 'linear'])
@pytest.mark.parametrize('steps', [50, 100, 1000])
def test_schedules_fall_from_clean_to_nothing(schedule, steps):
    values = alpha_bars(steps, schedule)
    assert values.shape == (steps, ) and bool((values.diff() < 0).all())
    assert float(values[0]) > 0.95 and 0 < float(values[-1]) < 1e-3


@pytest.mark.parametrize('stride', [1, 4])
def test_noising_is_the_direct_formula(stride):
    clean, levels = images(), [30, 80]
    degradation = MODELS.build(dict(type='NoiseDegradation', noise_stride=stride))
    degraded, target = degradation(clean, levels, [5, 6])
    left = alpha_bars(100, 'sigmoid')
    for index, seed in enumerate([5, 6]):
        noise = torch.randn(3, 64 // stride, 48 // stride, generator=torch.Generator().manual_seed(seed))
        stretched = F.interpolate(noise[None], scale_factor=stride, mode='bilinear')[0]
        a = float(left[levels[index]])
        torch.testing.assert_close(degraded[index], a**0.5 * clean[index] + (1 - a)**0.5 * stretched)
        assert torch.equal(target[index], noise.repeat_interleave(stride, 1).repeat_interleave(stride, 2))


@pytest.mark.parametrize('stride, deviation', [(1, 1.0), (4, 0.656)])
def test_variance_of_the_noise(stride, deviation):
    degradation = MODELS.build(dict(type='NoiseDegradation', noise_stride=stride))
    degraded, _ = degradation(torch.zeros(2, 3, 256, 256), [99, 99], [0, 1])
    assert float(degraded.std()) == pytest.approx(deviation, abs=0.01)
    assert float(degraded.mean()) == pytest.approx(0, abs=0.02)


def test_blurs_on_top_of_each_other():
    clean, level = images(2, 40, 36).double(), 12
    degraded, target = MODELS.build(dict(type='BlurDegradation'))(clean, [0, level], [0, 0])
    expected = [clean[:1], clean[1:]]
    for index, last in enumerate([0, level]):
        for step in range(last + 1):
            sigma = math.exp(0.02 * step)
            kernel = torch.exp(-0.5 * (torch.arange(-15, 16).double() / sigma)**2)
            kernel = torch.outer(kernel, kernel) / kernel.sum()**2
            padded = F.pad(expected[index], (15, 15, 15, 15), mode='reflect')
            expected[index] = F.conv2d(padded, kernel.expand(3, 1, 31, 31), groups=3)
    torch.testing.assert_close(degraded, torch.cat(expected), rtol=1e-9, atol=1e-9)
    assert target is clean


def test_blur_keeps_the_mean_colour_and_takes_contrast():
    clean = torch.full((1, 3, 65, 65), 2.0)
    blur = MODELS.build(dict(type='BlurDegradation'))
    torch.testing.assert_close(blur(clean, [99], [0]).images_BCHW, clean)
    contrast = [float(blur(images(1), [level], [0]).images_BCHW.std()) for level in (0, 20, 99)]
    assert contrast[0] > 2 * contrast[1] > 4 * contrast[2]


@pytest.mark.parametrize('kind, cells', [('block', 8 * 6), ('blob', 64 * 48)])
@pytest.mark.parametrize('level', [0, 40, 70, 99])
def test_kept_share_follows_the_schedule(kind, cells, level):
    degradation = MODELS.build(KINDS[kind])
    degraded, target = degradation(torch.ones(2, 3, 64, 48), [level, level], [3, 4])
    share = float(alpha_bars(100, 'sigmoid')[level])
    for image in degraded:
        assert set(image.unique().tolist()) <= {0.0, 1.0}
        assert float(image.mean()) == pytest.approx(round(share * cells) / cells, abs=2e-3)
    if 0.1 < share < 0.9:
        assert not torch.equal(degraded[0], degraded[1])
    assert bool((target == 1).all())


def test_shapes_of_masks():
    blocks = MODELS.build(KINDS['block'])(torch.ones(1, 1, 64, 48), [50], [0]).images_BCHW
    cells = blocks.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    assert bool((cells.amin(-1) == cells.amax(-1)).all())
    blobs = MODELS.build(KINDS['blob'])(torch.ones(1, 1, 64, 48), [50], [0]).images_BCHW
    changes = (blobs.diff(dim=2) != 0).float().mean() + (blobs.diff(dim=3) != 0).float().mean()
    assert float(changes) < 0.3  # white noise would change at every second pixel, so 1


def test_mixture_draws_one_for_each_image():
    mixed = MODELS.build(KINDS['mixed'])
    clean = torch.ones(1, 3, 64, 48)
    kinds = set()
    for seed in range(40):
        degraded, target = mixed(clean, [50], [seed])
        values = len(degraded.unique())
        kinds.add('mask' if values == 2 else 'noise' if not torch.equal(target, clean) else 'blur')
    assert kinds == {'mask', 'noise', 'blur'}
    assert mixed.target_stride == 4 and mixed.steps == 100


@pytest.mark.parametrize('kind', KINDS)
def test_each_image_has_its_own_level_and_seed(kind):
    degradation, clean = MODELS.build(KINDS[kind]), images(3)
    together = degradation(clean, [10, 50, 90], [7, 8, 9])
    for index, (level, seed) in enumerate([(10, 7), (50, 8), (90, 9)]):
        alone = degradation(clean[index:index + 1], [level], [seed])
        for part, whole in zip(alone, together):
            torch.testing.assert_close(part[0], whole[index])
    again = degradation(clean, [10, 50, 90], [7, 8, 9])
    assert all(torch.equal(one, other) for one, other in zip(together, again))
    assert together.images_BCHW.shape == together.target_BCHW.shape == clean.shape


@pytest.mark.parametrize('kind', KINDS)
def test_later_levels_leave_less(kind):
    degradation, clean = MODELS.build(KINDS[kind]), images(1)
    kept = [float(F.cosine_similarity(degradation(clean, [level], [3]).images_BCHW.flatten(), clean.flatten(), dim=0))
            for level in (0, 60, 99)]
    assert kept[0] > kept[1] > kept[2] and kept[2] < 0.15


@pytest.mark.parametrize('config, message', [
    (dict(type='NoiseDegradation', schedule='square'), "schedule='square'.*allowed are"),
    (dict(type='NoiseDegradation', steps=0), 'steps=0'),
    (dict(type='NoiseDegradation', steps=20, schedule='linear'), 'more than 20 steps'),
    (dict(type='NoiseDegradation', noise_stride=0), 'noise_stride=0'),
    (dict(type='BlurDegradation', kernel_size=30), 'kernel_size=30'),
    (dict(type='MaskDegradation', shape='ring'), "shape='ring'"),
    (dict(type='MaskDegradation', block=0), 'block=0'),
    (dict(type='MixedDegradation', degradations=[]), 'at least one'),
    (dict(type='MixedDegradation', degradations=[KINDS['noise'], dict(KINDS['blur'], steps=50)]), r'\[50, 100\] steps'),
])
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


@pytest.mark.parametrize('config, levels, message', [
    (KINDS['noise'], [0, 100], r'allowed are 0 to 99'),
    *((KINDS[kind], [0], '2 images, 1 levels and 2 seeds') for kind in ('noise', 'blur', 'block', 'mixed')),
    (dict(KINDS['noise'], noise_stride=5), [0, 0], 'no multiple of noise_stride=5'),
    (dict(KINDS['block'], block=200), [0, 0], 'no room for squares of 200'),
])
def test_wrong_inputs_are_named(config, levels, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)(images(), levels, [0, 1])
