"""Colour masks become class ids; colours that are no class are named."""
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_datasets import write_image

from mmseg_cicld.datasets import DataFileError
from mmseg_cicld.datasets.colour_masks import color_table, read_color_mask

PALETTE = [[128, 64, 128], [0, 0, 142], [220, 220, 0]]
IDS = np.random.default_rng(0).integers(0, 3, (6, 8), dtype=np.uint8)
COLORS = np.array(PALETTE, np.uint8)[IDS]


def test_colours_become_ids(run, tmp_path):
    write_image(tmp_path / 'masks/a/1.png', COLORS[..., ::-1])
    Image.fromarray(COLORS).quantize(8).save(tmp_path / 'masks/2.png')  # a palette PNG
    Image.fromarray(np.dstack([COLORS, np.full(IDS.shape, 9, np.uint8)])).save(tmp_path / 'masks/3.png')
    (tmp_path / 'classes.json').write_text(json.dumps(dict(classes=['road', 'car', 'sign'], palette=PALETTE)))
    assert run('colour_masks', tmp_path / 'masks', tmp_path / 'labels', '--classes', tmp_path / 'classes.json') == 0
    for name in ('a/1', '2', '3'):
        label = cv2.imread(str(tmp_path / f'labels/{name}.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(label, IDS)


def test_colours_that_are_left_out_are_ignored(run, tmp_path):
    write_image(tmp_path / 'masks/1.png', COLORS[..., ::-1])
    (tmp_path / 'classes.json').write_text(json.dumps(dict(classes=['road', 'car'], palette=PALETTE[:2])))
    arguments = ('colour_masks', tmp_path / 'masks', tmp_path / 'labels', '--classes', tmp_path / 'classes.json')
    count = int((IDS == 2).sum())
    assert f'1 colours that are no class: (220, 220, 0) in {count} pixels. Add' in run(*arguments)
    assert run(*arguments, '--ignore', '220,220,0') == 0
    label = cv2.imread(str(tmp_path / 'labels/1.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(label, np.where(IDS == 2, 255, IDS))


def test_unknown_colours_come_with_the_most_frequent_first(tmp_path):
    mask = np.zeros((4, 5, 3), np.uint8)
    mask[0, 0], mask[1], mask[2:] = (9, 9, 9), PALETTE[0], (1, 2, 3)
    path = write_image(tmp_path / '1.png', mask[..., ::-1])
    with pytest.raises(DataFileError, match=r'3 colours that are no class: \(1, 2, 3\) in 10 pixels, \(0, 0, 0\) in 4 '
                                            r'pixels, \(9, 9, 9\) in 1 pixels'):
        read_color_mask(str(path), color_table(PALETTE))


@pytest.mark.parametrize(('palette', 'message'), [
    ([[1, 2, 3], [1, 2, 3]], 'stands for the ids 0 and 1'), ([[1, 2]], 'no RGB'), ([[1, 2, 300]], 'no RGB')])
def test_palettes_that_are_wrong(palette, message):
    with pytest.raises(ValueError, match=message):
        color_table(palette)


def test_lossy_and_damaged_masks_are_refused(run, tmp_path):
    write_image(tmp_path / '1.jpg', COLORS)
    with pytest.raises(DataFileError, match='export it as PNG'):
        read_color_mask(str(tmp_path / '1.jpg'), color_table(PALETTE))
    (tmp_path / '2.png').write_bytes(b'nothing')
    with pytest.raises(DataFileError, match='damaged or no image'):
        read_color_mask(str(tmp_path / '2.png'), color_table(PALETTE))
