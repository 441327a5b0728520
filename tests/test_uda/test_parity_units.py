"""Single operations against numbers recorded from the published DAFormer/MIC implementation."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss
from parity_rules import checksum, image, normalise

from mmseg_cicld.models.crop_box import random_crop_box, sliding_windows
from mmseg_cicld.models.label_rule import LabelRule
from mmseg_cicld.uda.mixing import choose_classes, class_mix, mix_masks, present_ids
from mmseg_cicld.uda.objectives.masked_consistency import block_masks
from mmseg_cicld.uda.objectives.source import downscale_labels
from mmseg_cicld.uda.pseudo_labels import PseudoLabelRule
from mmseg_cicld.uda.strong_augmentation import (StrongAugmentation, adjust_brightness, adjust_contrast, adjust_hue,
                                                 adjust_saturation, blur_kernel_size, colour_jitter, gaussian_blur)
from mmseg_cicld.uda.teacher import EMATeacher

PARITY = Path(__file__).parents[1] / 'data' / 'parity'
OPERATIONS = dict(brightness=adjust_brightness, contrast=adjust_contrast, saturation=adjust_saturation,
                  hue=adjust_hue)


@pytest.fixture(scope='module')
def units():
    return np.load(PARITY / 'F_units.npz')


@pytest.fixture(scope='module')
def colours():
    return np.load(PARITY / 'J_colour_blur.npz')


@pytest.mark.parametrize('case', range(4))
def test_downscaled_labels(units, case):
    labels = torch.from_numpy(units[f'in/down{case}.label']).long()
    ratio = float(units[f'in/down{case}.min_ratio'])
    out = downscale_labels(labels, int(units[f'in/down{case}.factor']), ratio, num_classes=19)
    np.testing.assert_array_equal(out.numpy(), units[f'f32/down{case}.out'])


@pytest.mark.parametrize('case', range(3))
def test_class_mix(units, case):
    labels = torch.from_numpy(units[f'in/cmix{case}.label']).long()
    present = present_ids(labels)
    np.testing.assert_array_equal(present.nonzero()[:, 0].numpy(), units[f'in/cmix{case}.pool'])
    scores = torch.zeros(len(labels), 256, dtype=torch.float64)
    for row, chosen in zip(scores, units[f'in/cmix{case}.chosen']):
        row[torch.from_numpy(chosen[chosen >= 0])] = 0.9
    chosen = choose_classes(present, scores)
    assert chosen.sum(dim=1).tolist() == units[f'f32/cmix{case}.n_chosen'].reshape(-1).tolist()
    mask = mix_masks(labels, chosen)
    np.testing.assert_array_equal(mask.numpy(), units[f'f32/cmix{case}.mask'].reshape(mask.shape) == 1)
    shape = (len(labels), 3, *labels.shape[1:])
    source, target = (torch.from_numpy(image(f'visible/F/mix{x}{case}', shape)).double() for x in 'AB')
    mixed = class_mix(mask, (source, labels), (target, torch.from_numpy(units[f'in/cmix{case}.pseudo_label']).long(),
                                               torch.from_numpy(units[f'in/cmix{case}.pseudo_weight'])))
    np.testing.assert_array_equal(mixed.labels_BHW.numpy(), units[f'f32/cmix{case}.mixed_label'])
    np.testing.assert_array_equal(mixed.weights_BHW.numpy(), units[f'f64/cmix{case}.mixed_weight'])
    np.testing.assert_allclose(checksum(mixed.images_BCHW), units[f'f64/cmix{case}.img_checksum'], atol=1e-10)


@pytest.mark.parametrize('precision, tolerance', [('f32', 2e-6), ('f64', 1e-12)])
@pytest.mark.parametrize('case', [0, 1, 2, 'v'])
def test_pseudo_labels(units, case, precision, tolerance):
    logits = torch.from_numpy(units['in/pl.logits']).to(torch.float32 if precision == 'f32' else torch.float64)
    predicted = LabelRule(num_classes=logits.shape[1], ignore_index=255, threshold=None).labels_and_confidence(logits)
    threshold, top, bottom = units[f'in/pl{0 if case == "v" else case}.thr_top_bottom']
    if case == 'v':
        pseudo = PseudoLabelRule(threshold)(*predicted, torch.from_numpy(units['in/plv.valid']))
    else:
        pseudo = PseudoLabelRule(threshold, int(top), int(bottom))(*predicted)
        np.testing.assert_allclose(pseudo.confident_share, units[f'{precision}/pl{case}.q'], atol=tolerance)
        np.testing.assert_array_equal(pseudo.labels_BHW, units[f'f32/pl{case}.label'])
    np.testing.assert_allclose(pseudo.weights_BHW, units[f'{precision}/pl{case}.weight'], atol=tolerance)


@pytest.mark.parametrize('precision, tolerance', [('f32', 5e-5), ('f64', 1e-10)])
@pytest.mark.parametrize('operation', OPERATIONS)
@pytest.mark.parametrize('case', range(2))
def test_colour_operations(colours, operation, case, precision, tolerance):
    pixels = torch.from_numpy((colours['in/img_u8'].astype(np.float64) / 255).astype(np.float32))
    pixels = pixels.to(torch.float32 if precision == 'f32' else torch.float64)
    for index, factor in enumerate(colours[f'in/op.{operation}{case}.factor'].tolist()):
        out = OPERATIONS[operation](pixels[index:index + 1], factor)
        np.testing.assert_allclose(out[0], colours[f'{precision}/op.{operation}{case}'][index], atol=tolerance)


@pytest.mark.parametrize('case', range(3))
def test_colour_jitter(colours, case):
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    normalised = normalise(colours['in/img_u8']).astype(np.float64)
    pixels = torch.from_numpy((normalised * std[:, None, None] + mean[:, None, None]) / 255)
    for index in range(2):
        factors = [float(colours[f'in/jit{case}.{name}_factor'][index]) for name in OPERATIONS]
        out = colour_jitter(pixels[index:index + 1], colours[f'in/jit{case}.order'].tolist(), factors)[0].numpy()
        out = (out * 255 - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(out, colours[f'f64/jit{case}.out'][index], atol=5e-7)


def test_coins(colours):
    images, normalisation = torch.rand(1, 3, 8, 8), (torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    augmentation = StrongAugmentation()
    drawn: list[str] = []

    def uniform(name, *key, size=None):
        drawn.append(name)
        return coin if name.endswith('coin') else np.full(size, 0.5) if size else 0.5

    for value, jitters, blurs in zip(colours['in/coin.values'], colours['f32/coin.jitter_applied'],
                                     colours['f32/coin.blur_applied']):
        coin, drawn[:] = float(value), []
        augmentation(images, normalisation, uniform, [0])
        assert ('jitter' in drawn, 'blur_sigma' in drawn) == (bool(jitters), bool(blurs)), coin


@pytest.mark.parametrize('case', range(3))
def test_blur(colours, case):
    height, width = colours[f'in/blur{case}.H_W'].tolist()
    images = torch.from_numpy(image(f'visible/J/blur{case}', (1, 3, height, width))).double()
    out = gaussian_blur(images, [float(colours[f'in/blur{case}.sigma'])]).numpy()
    np.testing.assert_allclose(checksum(out), colours[f'f64/blur{case}.checksum'], atol=1e-10)
    np.testing.assert_allclose(out[:, :, :8, :8], colours[f'f64/blur{case}.corner'], atol=1e-10)
    centre = out[:, :, height // 2:height // 2 + 8, width // 2:width // 2 + 8]
    np.testing.assert_allclose(centre, colours[f'f64/blur{case}.centre'], atol=1e-10)


def test_blur_kernel_sizes(colours):
    sizes = [blur_kernel_size(length) for length in colours['in/blur_dim'].tolist()]
    assert sizes == colours['f32/blur_kernel_for_dim'].tolist()


@pytest.mark.parametrize('case', range(3))
def test_block_masks(units, case):
    *shape, block, ratio = units[f'in/mask{case}.B_H_W_block_ratio'].tolist()
    batch, height, width = (int(side) for side in shape)
    noise = units[f'in/mask{case}.noise']
    masks = block_masks((height, width), int(block), ratio, lambda name, index, size: noise[index, 0].reshape(size),
                        range(batch))
    np.testing.assert_array_equal(masks[:, 0], units[f'f32/mask{case}.mask'])
    images = torch.from_numpy(image(f'visible/F/mask{case}', (batch, 3, height, width))).double()
    np.testing.assert_allclose(checksum(images * masks), units[f'f64/mask{case}.masked_checksum'], atol=1e-10)


@pytest.mark.parametrize('case', range(3))
def test_places_of_the_detail_crop(units, case):
    height, width, *crop, divisible = units[f'in/box{case}.H_W_ch_cw_div'].tolist()
    draws = np.arange(4096) / 4096
    boxes = [random_crop_box((height, width), tuple(crop), divisible, (draw, draw)) for draw in draws]
    assert sorted({box.y1 for box in boxes}) == units[f'f32/box{case}.y_offsets'].tolist()
    assert sorted({box.x1 for box in boxes}) == units[f'f32/box{case}.x_offsets'].tolist()
    assert {box.size for box in boxes} == {tuple(crop)}


@pytest.mark.parametrize('case', range(4))
def test_detail_windows(units, case):
    height, width, *crop, overlap = units[f'in/slide{case}.H_W_ch_cw_overlap'].tolist()
    stride = tuple(side // (2 if overlap else 1) for side in crop)
    windows = sliding_windows((height, width), tuple(crop), stride)
    np.testing.assert_array_equal(np.array(windows), units[f'f32/slide{case}.boxes_y1y2x1x2'])


@pytest.mark.parametrize('cap', [0.999, 0.99])
def test_factor_of_the_teacher(units, cap):
    student = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.zeros_(student.weight)
    factors = []
    for t in units['in/ema.t'].tolist():
        teacher = EMATeacher(student, momentum=cap)
        torch.nn.init.ones_(teacher.network.weight)
        teacher.update(student, t)
        factors.append(float(teacher.network.weight))
    np.testing.assert_allclose(factors, units[f'f64/ema.alpha_cap{cap}'], rtol=1e-12)


@pytest.mark.parametrize('kind', ['plain', 'weighted'])
def test_cross_entropy_over_all_pixels(units, kind):
    logits = torch.from_numpy(units['in/pl.logits']).double().requires_grad_()
    weights = torch.from_numpy(units['in/ce.weight']).double() if kind == 'weighted' else None
    loss = CrossEntropyLoss()(logits, torch.from_numpy(units['in/ce.label']).long(), weight=weights, ignore_index=255)
    loss.backward()
    # The weight is rounded to float32 inside, and mmseg adds an epsilon to the number of pixels.
    np.testing.assert_allclose(float(loss), units[f'f64/ce.{kind}'], rtol=1e-7)
    np.testing.assert_allclose(logits.grad, units[f'f64/ce.{kind}_grad'], atol=1e-9)
