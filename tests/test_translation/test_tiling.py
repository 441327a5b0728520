"""Tiles cover an image, fade into each other, and give back what they were cut from."""
import numpy as np
import pytest

from mmseg_cicld.translation.errors import TranslationError
from mmseg_cicld.translation.tiling import TileGrid, TileSettings


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('size', [(40, 75), (16, 24), (17, 25), (9, 100), (5, 7), (1, 1)])
@pytest.mark.parametrize('tile', [TileSettings((16, 24), 4), TileSettings((16, 24), 0), TileSettings((16, 24), 13),
                                  TileSettings((1, 1), 0), None])
def test_cut_and_joined_is_the_image(size, tile):
    image = random_image(*size)
    grid = TileGrid(*size, tile, multiple=8)
    tiles = grid.cut(image)
    assert {part.shape[:2] for part in tiles} == {grid.tile_size}
    joined = grid.join([part / 127.5 - 1 for part in tiles])
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(((joined + 1) * 127.5).round().astype(np.uint8), image)


def test_neighbours_share_at_least_the_overlap_and_reach_both_ends():
    grid = TileGrid(64, 200, TileSettings((32, 64), 8))
    tops, lefts = sorted({top for top, _ in grid.corners}), sorted({left for _, left in grid.corners})
    for starts, part, length in ((tops, 32, 64), (lefts, 64, 200)):
        assert starts[0] == 0 and starts[-1] == length - part
        assert all(a + part - b >= 8 for a, b in zip(starts, starts[1:]))
    assert len(lefts) == 4  # (200 - 8) / (64 - 8), rounded up


def test_a_step_between_tiles_becomes_a_smooth_ramp():
    grid = TileGrid(32, 104, TileSettings((32, 64), 24))
    joined = grid.join([np.full((32, 64, 1), value) for value in (0., 1.)])[0, :, 0]
    steps = np.diff(joined)
    assert joined[:40].max() == 0 and joined[64:].min() == 1
    assert (steps >= 0).all() and steps.max() < 2 / 24  # never twice as steep as a straight line over the overlap


def test_too_small_an_image_is_mirrored_and_its_label_filled():
    image, label = random_image(3, 5), np.zeros((3, 5), np.uint8)
    grid = TileGrid(3, 5, None, multiple=8)
    [tile], [label_tile] = grid.cut(image), grid.cut(label, fill=255)
    assert tile.shape == (8, 8, 3)
    np.testing.assert_array_equal(tile[:3, 5:8], image[:, :1:-1])
    assert (label_tile[:3, :5] == 0).all() and (label_tile[3:] == 255).all() and (label_tile[:, 5:] == 255).all()


@pytest.mark.parametrize('settings', [((16, 16), 16), ((16, 16), -1), ((0, 16), 0), ((16,), 4)])
def test_impossible_tiles_are_refused(settings):
    with pytest.raises(TranslationError, match='tile has size='):
        TileSettings(*settings)
