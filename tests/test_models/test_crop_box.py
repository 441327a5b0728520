"""Crop boxes and sliding windows."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_cicld.models.crop_box import CropBox, average_windows, random_crop_box, sliding_windows

DRAWS = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 4, 8]), DRAWS, DRAWS)
def test_random_box_lies_inside_and_on_the_grid(more_rows, more_columns, divisible, row, column):
    size, crop = (32 + more_rows, 48 + more_columns), (32, 48)
    box = random_crop_box(size, crop, divisible, (row, column))
    assert box.size == crop
    assert box.y1 % divisible == box.x1 % divisible == 0
    assert box.y1 >= 0 and box.y2 <= size[0] and box.x1 >= 0 and box.x2 <= size[1]


def test_random_box_takes_every_published_offset_equally_often():
    draws = [(i + 0.5) / 640 for i in range(640)]
    offsets = [random_crop_box((1024, 1024), (512, 512), 8, (draw, 0)).y1 for draw in draws]
    assert sorted(set(offsets)) == list(range(0, 512, 8))
    assert all(offsets.count(offset) == 10 for offset in set(offsets))


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_windows_cover_the_image(height, width, crop, row_step, column_step):
    row_step, column_step = min(row_step, crop), min(column_step, crop)
    windows = sliding_windows((height, width), (crop, crop), (row_step, column_step))
    seen = torch.zeros(height, width)
    for window in windows:
        assert window.size == (min(crop, height), min(crop, width))
        window.crop(seen).add_(1)
    assert seen.min() >= 1
    assert len(set(windows)) == len(windows)


@pytest.mark.parametrize('size, grid', [((1024, 1024), (3, 3)), ((512, 512), (1, 1)), ((1080, 1920), (4, 7))])
def test_number_of_windows(size, grid):
    assert len(sliding_windows(size, (512, 512), (256, 256))) == grid[0] * grid[1]


def test_overlaps_are_averaged_and_gaps_are_zero():
    windows = [CropBox(0, 2, 0, 2), CropBox(0, 2, 1, 3)]
    merged = average_windows([torch.full((1, 1, 2, 2), 2.), torch.full((1, 1, 2, 2), 4.)], windows, (3, 3))
    assert merged[0, 0].tolist() == [[2, 3, 4], [2, 3, 4], [0, 0, 0]]
