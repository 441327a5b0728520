"""Panels show the right colours at the right place."""
import numpy as np
import pytest

from mmseg_cicld.visualization import colorize, compose_panel, step_tiles

PALETTE = [[10, 20, 30], [40, 50, 60]]


def test_ids_take_the_colour_of_the_palette_and_ignored_pixels_are_black():
    picture = colorize(np.array([[0, 1], [255, 7]]), PALETTE)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[10, 20, 30], [40, 50, 60]], [[0, 0, 0], [0, 0, 0]]]


def test_tiles_follow_the_method_and_tell_the_weight():
    kept = dict(pseudo_weight=np.full((1, 4, 4), 0.25, np.float32), source_image=np.zeros((1, 3, 4, 4), np.uint8),
                source_label=np.zeros((1, 4, 4), np.int64))
    assert list(step_tiles(kept, 0, PALETTE)) == ['source', 'source label', 'weight, mean 0.25']


def test_weights_differ_in_colour():
    kept = dict(mixed_weight=np.array([[[0.0, 0.5, 1.0]]], np.float32))
    tile = next(iter(step_tiles(kept, 0, PALETTE).values()))
    assert len({tuple(pixel) for pixel in tile[0]}) == 3


def test_an_image_keeps_its_pixels_and_rgb_order():
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 200, 200), dtype=np.uint8)
    tile = step_tiles(dict(source_image=image), 0, PALETTE)['source']
    panel = compose_panel([{'source': tile}])
    windows = [(y, x) for y in range(panel.shape[0] - 199) for x in range(panel.shape[1] - 199)
               if (panel[y:y + 200, x:x + 200] == image[0].transpose(1, 2, 0)).all()]
    assert len(windows) == 1


def test_rows_of_different_length_fit_into_one_panel():
    tile = np.zeros((8, 8, 3), np.uint8)
    one, two = compose_panel([{'a': tile}]), compose_panel([{'a': tile}, {'a': tile, 'b': tile}])
    assert two.shape == (2 * one.shape[0], 2 * one.shape[1], 3)


def test_an_empty_panel_is_refused():
    with pytest.raises(ValueError, match='at least one tile'):
        compose_panel([{}])
