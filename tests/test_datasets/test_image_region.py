"""Parts of resized images and of labels are those of the whole."""
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmseg_cicld.datasets.image_region import channels_first, count_ids, resized_region

EDGE = st.integers(1, 70)


@settings(max_examples=300, deadline=None)
@given(before=st.tuples(EDGE, EDGE), after=st.tuples(EDGE, EDGE), channels=st.sampled_from([(), (1,), (3,), (4,)]),
       place=st.tuples(*[st.floats(0, 1)] * 4), factor=st.sampled_from([None, 1, 2, 3]))
@example(before=(7, 1), after=(6, 1), channels=(), place=(0, 0, 0, 0), factor=None)  # a part that keeps its size
def test_region_has_the_pixels_of_the_whole(before, after, channels, place, factor):
    if factor is not None:  # sizes that divide, where rows before the box are left out too
        before = tuple(edge * factor for edge in after)
    image = np.random.default_rng(sum(before)).integers(0, 256, (*before, *channels), dtype=np.uint8)
    box = tuple(slice(start, start + 1 + int(size * 80)) for start, size in
                ((int(share * (edge - 1)), size) for share, size, edge in zip(place, place[2:], after)))
    whole = cv2.resize(image, after[::-1]) if tuple(after) != tuple(before) else image
    region = resized_region(image, after, box)
    np.testing.assert_array_equal(region.reshape(region.shape[:2] + (-1,)), whole[box].reshape(region.shape[:2] + (-1,)))


@pytest.mark.parametrize('size', [(704, 1280), (1407, 2560), (512, 1024)])
def test_region_at_the_sizes_of_the_benchmarks(size):
    image = np.random.default_rng(0).integers(0, 256, (1024 if size[0] == 512 else 1052, 2048 if size[0] == 512 else 1914, 3),
                                              dtype=np.uint8)
    box = slice(size[0] - 300, size[0]), slice(size[1] // 3, size[1] // 3 + 400)
    np.testing.assert_array_equal(resized_region(image, size, box), cv2.resize(image, size[::-1])[box])


def test_counts():
    label = np.random.default_rng(1).choice(np.array([0, 1, 7, 254, 255], np.uint8), (33, 50))
    part = label[3:30, 5:41]
    np.testing.assert_array_equal(count_ids(part), np.bincount(part.reshape(-1), minlength=256))
    assert count_ids(part).dtype == np.int64


def test_counts_beyond_what_a_float_counts():
    assert count_ids(np.broadcast_to(np.uint8(3), (4100, 4200)))[3] == 4100 * 4200  # above 2**24


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('axes', [(), (0,), (1,), (0, 1)])
def test_channels_first(axes, channels):
    image = np.random.default_rng(2).integers(0, 256, (9, 13, channels), dtype=np.uint8)
    for view in (np.flip(image, axes), np.flip(image, axes)[1:7, 2:11]):
        planes = channels_first(view)
        np.testing.assert_array_equal(planes, view.transpose(2, 0, 1))
        assert planes.flags.c_contiguous
