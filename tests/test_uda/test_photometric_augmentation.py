"""Colour jitter, grey and blur as torchvision defines them, against numbers of torchvision 0.29 and direct formulas."""
import colorsys

import numpy as np
import pytest
import torch

from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda import PhotometricAugmentation
from mmseg_cicld.uda.photometric_augmentation import blended_jitter, grey
from mmseg_cicld.uda.strong_augmentation import gaussian_blur

PIXELS = [[[.9, .2], [.05, .5]], [[.3, .2], [.6, .7]], [[.1, .2], [.8, .5]]]
KEPT = (1.0, 1.0, 1.0, 0.0)
# What torchvision 0.29.1 gives for these pixels (adjust_brightness and so on, float32).
RECORDED = {
    'brightness': (0, 1.5, [1.0, 0.3, 0.075, 0.75, 0.45, 0.3, 0.9, 1.0, 0.15, 0.3, 1.0, 0.75]),
    'contrast': (1, 0.4, [0.619828, 0.339828, 0.279828, 0.459828, 0.379828, 0.339828, 0.499828, 0.539828, 0.299828,
                          0.339828, 0.579828, 0.459828]),
    'saturation': (2, 1.7, [1.0, 0.200014, 0.0, 0.417855, 0.190443, 0.200014, 0.699159, 0.757855, 0.0, 0.200014, 1.0,
                            0.417855]),
    'hue': (3, 0.3, [0.1, 0.2, 0.8, 0.5, 0.9, 0.2, 0.05, 0.54, 0.14, 0.2, 0.75, 0.7]),
}
NORMALISATION = (torch.tensor([123.675, 116.28, 103.53])[None, :, None, None],
                 torch.tensor([58.395, 57.12, 57.375])[None, :, None, None])


def augmented(augmentation: PhotometricAugmentation, images: torch.Tensor, seed: int = 0, indices=None) -> torch.Tensor:
    return augmentation(images, NORMALISATION, KeyedStreams(seed).uniform, indices or range(len(images)))


def always(**changes) -> PhotometricAugmentation:
    return PhotometricAugmentation(**{**dict(jitter_probability=0, grey_probability=0, blur_probability=0), **changes})


def noise(images: int, side: int = 32) -> torch.Tensor:
    """Normalised images whose colours lie in [0, 1]."""
    mean, std = NORMALISATION
    return (torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(7)) * 255 - mean) / std


@pytest.mark.parametrize('operation', RECORDED)
def test_operations_are_those_of_torchvision(operation):
    index, factor, expected = RECORDED[operation]
    factors = [factor if place == index else kept for place, kept in enumerate(KEPT)]
    out = blended_jitter(torch.tensor(PIXELS)[None], [index], factors)
    np.testing.assert_allclose(out.flatten(), expected, atol=2e-6)


def test_order_of_operations_is_that_given():
    out = blended_jitter(torch.tensor(PIXELS)[None], [3, 1, 0, 2], [0.7, 1.6, 0.2, -0.35])
    np.testing.assert_allclose(out.flatten(), [0.095219, 0.049055, 0.583875, 0.485434, 0.080927, 0.049055, 0.607663,
                                               0.440634, 0.220927, 0.049055, 0.467663, 0.445114], atol=2e-6)


def test_hue_turns_as_in_the_standard_library():
    colours = torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    colours[..., 0], colours[..., 1], colours[:, 1, :, 2] = 0.0, 1.0, colours[:, 0, :, 2]
    for shift in (-0.5, -0.2, 0.0, 0.37):
        out = blended_jitter(colours, [3], [1, 1, 1, shift])
        for pixel, changed in zip(colours[0].flatten(1).T, out[0].flatten(1).T):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
            np.testing.assert_allclose(changed, colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value), atol=1e-12)


def test_each_image_has_draws_of_its_own_wherever_it_lies():
    images = noise(1).expand(4, -1, -1, -1)
    out = augmented(always(jitter_probability=1), images)
    assert all(not torch.allclose(out[i], out[j]) for i in range(4) for j in range(i))
    again = augmented(always(jitter_probability=1), images[:2], indices=[3, 1])
    torch.testing.assert_close(again, out[[3, 1]])


def test_factors_fill_their_ranges():
    augmentation = PhotometricAugmentation(brightness=0.3, contrast=1.5, saturation=0.5, hue=0.1)
    draws = np.random.default_rng(0).random((4000, 4))
    factors = np.array([augmentation._factors(draw) for draw in draws])
    np.testing.assert_allclose(factors.min(0), [0.7, 0, 0.5, -0.1], atol=3e-3)
    np.testing.assert_allclose(factors.max(0), [1.3, 2.5, 1.5, 0.1], atol=3e-3)
    np.testing.assert_allclose(factors.mean(0), [1, 1.25, 1, 0], atol=0.03)


@pytest.mark.parametrize('key', ['jitter_probability', 'grey_probability', 'blur_probability'])
def test_probabilities_are_of_each_image(key):
    images = noise(1, side=24).expand(400, -1, -1, -1)
    changed = (augmented(always(**{key: 0.3}), images) - images).abs().flatten(1).amax(1) > 1e-3
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.06)
    assert float(changed[:200].float().mean()) == pytest.approx(0.3, abs=0.09)


def test_grey_images_have_three_equal_channels():
    images = noise(2)
    mean, std = NORMALISATION
    out = augmented(always(grey_probability=1), images) * std + mean
    expected = 255 * grey((images * std + mean) / 255)
    torch.testing.assert_close(out, expected.expand(-1, 3, -1, -1), atol=1e-3, rtol=0)
    weights = torch.tensor([0.2989, 0.587, 0.114])
    torch.testing.assert_close(expected[:, 0], torch.einsum('bchw,c->bhw', images * std + mean, weights), atol=1e-3, rtol=0)


def test_blur_has_a_kernel_of_a_tenth_and_a_sigma_of_its_own():
    images = noise(3, side=64)
    out = augmented(always(blur_probability=1, blur_sigma=(0.5, 2.0)), images, seed=3)
    sigmas = [0.5 + 1.5 * KeyedStreams(3).uniform('blur_sigma', index) for index in range(3)]
    torch.testing.assert_close(out, gaussian_blur(images, sigmas), atol=2e-5, rtol=1e-5)
    assert len(set(sigmas)) == 3


def test_nothing_is_changed_with_probabilities_of_zero():
    images = noise(2)
    torch.testing.assert_close(augmented(always(), images), images, atol=2e-6, rtol=0)


def test_half_precision_around_it_changes_nothing():
    images = noise(2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = augmented(PhotometricAugmentation(), images)
    assert torch.equal(out, augmented(PhotometricAugmentation(), images)) and out.dtype == torch.float32


def test_equal_ones_are_one_key_though_configs_give_lists():
    one, other = PhotometricAugmentation(blur_sigma=[0.15, 1.15]), PhotometricAugmentation(blur_sigma=(0.15, 1.15))
    assert one == other and hash(one) == hash(other) and one != PhotometricAugmentation()


@pytest.mark.parametrize('changes, named', [
    (dict(hue=0.6), r'hue=0.6, allowed are values in \[0, 0.5\]'),
    (dict(brightness=-1), 'brightness=-1, allowed are 0 and more'),
    (dict(blur_probability=1.2), r'blur_probability=1.2, allowed are values in \[0, 1\]'),
    (dict(blur_sigma=(0, 1)), 'least and the largest'), (dict(blur_sigma=(2, 1)), 'least and the largest')])
def test_values_out_of_range_are_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        PhotometricAugmentation(**changes)


def test_other_images_than_8_bit_rgb_are_refused():
    with pytest.raises(ValueError, match='of PhotometricAugmentation is for 8-bit RGB, but the images have 4 channels'):
        PhotometricAugmentation().check((torch.full((1, 4, 1, 1), 9.), torch.full((1, 4, 1, 1), 3.)), 'augmentation')
