"""Loading and packing transforms: labels as trained, margins that follow the image."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import Compose
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from tiny_datasets import random_image, random_label, write_image

from mmseg_cicld.random_streams import seeded_globals


def run(steps: list, results: dict) -> dict:
    return Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps])(results)


@pytest.fixture
def results(tmp_path):
    write_image(tmp_path / 'a.png', random_image(0))
    write_image(tmp_path / 'l.png', random_label(0))
    return dict(img_path=str(tmp_path / 'a.png'), seg_map_path=str(tmp_path / 'l.png'), seg_fields=[],
                reduce_zero_label=False, label_map=None)


@pytest.mark.parametrize('reduce_zero', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 2: 0}])
def test_labels_equal_those_of_mmseg(results, reduce_zero, label_map):
    results |= dict(reduce_zero_label=reduce_zero, label_map=label_map)
    ours = run([dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly')], dict(results, seg_fields=[]))
    theirs = LoadAnnotations().transform(dict(results, seg_fields=[]))
    np.testing.assert_array_equal(ours['gt_seg_map'], theirs['gt_seg_map'])
    assert ours['seg_fields'] == ['gt_seg_map'] and ours['gt_seg_map'].dtype == np.uint8


def test_label_after_resize_keeps_its_own_size(results):
    packed = run([dict(type='LoadImageStrictly'), dict(type='Resize', scale=(20, 12), keep_ratio=True),
                  dict(type='LoadLabelStrictly'), dict(type='PackSegInputs')], results)
    assert packed['inputs'].shape == (3, 12, 20)
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, 24, 40)


@settings(max_examples=40, deadline=None)
@given(top=st.integers(0, 11), bottom=st.integers(0, 11), left=st.integers(0, 19), right=st.integers(0, 19))
def test_margins_of_the_whole_image(top, bottom, left, right):
    results = dict(img=random_image(0), img_path='a.png')
    step = TRANSFORMS.build(dict(type='LoadPseudoLabelMargins', margins=(top, bottom, left, right)))
    mask = step(results)['valid_pseudo_mask']
    assert mask.sum() == (24 - top - bottom) * (40 - left - right)
    assert mask[top:24 - bottom, left:40 - right].all()


@pytest.mark.parametrize('seed', range(5))
def test_mask_goes_where_the_image_goes(results, seed):
    """The image is white where the mask is 1, so after all transforms the two must still agree."""
    def paint(r: dict) -> dict:
        r['img'] = np.repeat(r['valid_pseudo_mask'][..., None] * 255, 3, axis=2).astype(np.uint8)
        return r
    with seeded_globals(seed):
        packed = run([dict(type='LoadImageStrictly'),
                      dict(type='LoadPseudoLabelMargins', margins=(4, 8, 2, 12)), paint,
                      dict(type='Resize', scale=(80, 48), keep_ratio=True, interpolation='nearest'),
                      dict(type='RandomCrop', crop_size=(32, 60)), dict(type='RandomFlip', prob=0.5),
                      dict(type='PackUDAInputs')], results)
    mask = packed['data_samples'].valid_pseudo_mask.data
    assert mask.dtype == torch.uint8 and mask.shape == (1, 32, 60)
    assert torch.equal(mask[0] * 255, packed['inputs'][0]) and 0 < mask.sum() < mask.numel()


def test_mask_of_padded_and_rotated_images(results):
    loading = [dict(type='LoadImageStrictly'), dict(type='LoadPseudoLabelMargins', margins=(4, 0, 0, 0))]
    padded = run([*loading, dict(type='Pad', size=(48, 30)), dict(type='PackUDAInputs')], dict(results, seg_fields=[]))
    mask = padded['data_samples'].valid_pseudo_mask.data[0]
    assert mask.shape == (30, 48) and mask.sum() == 20 * 40 and mask[4:24, :40].all()
    rotated = run([*loading, dict(type='RandomRotate', prob=1.0, degree=(45, 45), seg_pad_val=255),
                   dict(type='PackUDAInputs')], dict(results, seg_fields=[]))
    mask = rotated['data_samples'].valid_pseudo_mask.data[0]
    assert set(mask.unique().tolist()) == {0, 1} and not mask[0, 0] and not mask[-1, -1]


@pytest.mark.parametrize('margins', [(12, 12, 0, 0), (0, 0, 40, 0), (0, 30, 0, 0)])
def test_margins_that_leave_nothing(results, margins):
    with pytest.raises(ValueError, match=r'leave nothing of .*a.png \(40x24\): lower them'):
        run([dict(type='LoadImageStrictly'), dict(type='LoadPseudoLabelMargins', margins=margins)], results)


@pytest.mark.parametrize('margins', [(1, 2, 3), (0, 0, 0, -1), ()])
def test_margins_that_are_no_margins(margins):
    with pytest.raises(ValueError, match='four numbers of pixels'):
        TRANSFORMS.build(dict(type='LoadPseudoLabelMargins', margins=margins))


@pytest.mark.parametrize('shares, rows, columns', [((0.03, 0.25, 0.03, 0.03), (0, 18), (1, 39)),
                                                   ((0.5, 0.0, 0.1, 0.0), (12, 24), (4, 40))])
def test_margins_as_shares_are_rounded_down(results, shares, rows, columns):
    results['img'] = np.zeros((24, 40, 3), np.uint8)
    mask = TRANSFORMS.build(dict(type='LoadPseudoLabelMargins', shares=shares))(results)['valid_pseudo_mask']
    expected = np.zeros((24, 40), np.uint8)
    expected[rows[0]:rows[1], columns[0]:columns[1]] = 1
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize('given, named', [
    (dict(shares=(0.1, 0.2, 0.3)), 'four shares'), (dict(shares=(0, 0, 0, -0.1)), 'four shares'),
    (dict(shares=(1, 0, 0, 0)), 'four shares'), (dict(), 'give one of them'),
    (dict(margins=(1, 1, 1, 1), shares=(0.1, 0, 0, 0)), 'give one of them')])
def test_shares_that_are_no_shares(given, named):
    with pytest.raises(ValueError, match=named):
        TRANSFORMS.build(dict(type='LoadPseudoLabelMargins', **given))


def test_packing_without_a_mask(results):
    packed = run([dict(type='LoadImageStrictly'), dict(type='PackUDAInputs')], results)
    assert 'valid_pseudo_mask' not in packed['data_samples']
    assert packed['data_samples'].metainfo['img_path'] == results['img_path']


@pytest.mark.parametrize('crop', [(24, 40), (30, 50), (30, 20)])
def test_packing_marks_what_will_be_padded(results, crop):
    packed = run([dict(type='LoadImageStrictly'), dict(type='PackUDAInputs', crop_size=crop)], results)
    mask = packed['data_samples'].valid_pseudo_mask.data
    assert mask.shape == (1, max(crop[0], 24), max(crop[1], 40))
    assert mask[0, :24, :40].all() and mask.sum() == 24 * 40
