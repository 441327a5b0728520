"""Whole images go through a translator in tiles and batches, and come back as they were sent."""
import cv2
import numpy as np
import pytest
import torch

from mmseg_cicld.translation.image_translation import ImageTranslation, NamedImage, resized
from mmseg_cicld.translation.tiling import TileSettings

SIZES = ((20, 30), (20, 30), (9, 50), (16, 16))


def named_images() -> list[NamedImage]:
    streams = np.random.default_rng(0)
    images = []
    for index, size in enumerate(SIZES):
        image_HW3 = streams.integers(0, 256, (*size, 3), dtype=np.uint8)
        images.append(NamedImage(f'{index}.png', image_HW3, image_HW3[..., 0] // 64))  # labels follow from colours
    return images


class Watched:
    """A translator that changes nothing and remembers what it was given."""

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, images_B3HW, labels_BHW, seeds):
        assert images_B3HW.dtype == torch.float32 and images_B3HW.abs().max() <= 1 and labels_BHW.dtype == torch.int64
        red_BHW = ((images_B3HW[:, 0] + 1) * 127.5).round() // 64
        assert ((labels_BHW == red_BHW) | (labels_BHW == 255)).all()  # an image and its label are cut alike
        assert images_B3HW.shape[2] % 4 == images_B3HW.shape[3] % 4 == 0
        self.calls.append((tuple(images_B3HW.shape), list(seeds), (labels_BHW == 255).sum().item()))
        return images_B3HW


def test_images_come_back_whatever_their_size():
    for tile in (None, TileSettings((8, 12), 4), TileSettings((32, 16), 8)):
        watched = Watched()
        images = named_images()
        results = ImageTranslation(watched, 0, multiple=4, batch_size=3, tile=tile)(images)
        for image, result_HW3 in zip(images, results, strict=True):
            np.testing.assert_array_equal(result_HW3, image.image_HW3)
        assert all(shape[0] <= 3 for shape, *_ in watched.calls)


def test_what_is_whole_is_padded_to_what_the_network_takes():
    watched = Watched()
    ImageTranslation(watched, 0, multiple=4, batch_size=3)(named_images())
    assert [(shape, ignored) for shape, _, ignored in watched.calls] == [
        ((2, 3, 20, 32), 2 * 20 * 2), ((1, 3, 12, 52), 12 * 52 - 9 * 50), ((1, 3, 16, 16), 0)]


def test_every_tile_has_noise_of_its_own_however_they_are_batched():
    seeds = []
    for batch_size in (1, 4):
        watched = Watched()
        ImageTranslation(watched, 5, multiple=4, batch_size=batch_size, tile=TileSettings((8, 12), 4))(named_images())
        seeds.append([seed for _, batch, _ in watched.calls for seed in batch])
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0]) > len(SIZES)


def test_working_size_is_what_the_network_sees_and_files_keep_theirs():
    watched = Watched()
    flat = [NamedImage('flat.png', np.full((20, 30, 3), 100, np.uint8), np.full((20, 30), 1, np.uint8))]
    result_HW3, = ImageTranslation(watched, 0, multiple=4, working_size=(12, 16))(flat)
    np.testing.assert_array_equal(result_HW3, flat[0].image_HW3)
    assert watched.calls[0][0] == (1, 3, 12, 16)


@pytest.mark.parametrize('size, method', [((12, 16), cv2.INTER_AREA), ((40, 20), cv2.INTER_CUBIC), ((30, 60), cv2.INTER_CUBIC),
                                          ((60, 8), cv2.INTER_AREA), ((8, 60), cv2.INTER_AREA)])
def test_images_of_fewer_pixels_are_shrunk_by_area(size, method):
    image = named_images()[0]
    image_HW3, label_HW = resized(image.image_HW3, image.label_HW, size)
    np.testing.assert_array_equal(image_HW3, cv2.resize(image.image_HW3, size[::-1], interpolation=method))
    np.testing.assert_array_equal(label_HW, cv2.resize(image.label_HW, size[::-1], interpolation=cv2.INTER_NEAREST))
