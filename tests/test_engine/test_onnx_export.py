"""ONNX files of every head adapted here: the labels of torch at five sizes, or a refusal that names the head."""
import json
import sys
from contextlib import nullcontext

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from onnx_networks import MASKED, NETWORKS, WINDOWS, diffusing, network, two_scales

from mmseg_cicld.engine.onnx_check import (TOLERANCE, OnnxExportError, Prediction, _compare, check_against_torch,
                                           example_image)
from mmseg_cicld.engine.onnx_export import export_onnx
from mmseg_cicld.engine.onnx_tracing import SizeFreeFunctions

SIZES = [(64, 96), (81, 113), (128, 80), (99, 64), (160, 224)]
REFUSED = {'dm': 'DMHead: torch.s exporter cannot write it', 'fpn': 'FPNHead: .* scores differ',
           'isa': 'ISAHead: .* the file fails, torch predicts', 'ham': 'LightHamHead: .* scores differ'}


def predicted(segmentor: torch.nn.Module, image: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Labels of mmseg's own way from a picture to labels, and where rounding could not change them."""
    size = tuple(image.shape[1:])
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    with torch.no_grad():
        found, = segmentor.test_step(dict(inputs=[image], data_samples=[sample]))
    scores = found.seg_logits.data
    scores = scores if len(scores) > 1 else torch.cat([scores, 1 - scores])
    best = scores.topk(2, dim=0).values
    return found.pred_sem_seg.data.numpy(), (best[0] - best[1] > 1e-5 * scores.abs().max())[None].numpy()


def assert_the_same_labels(file, segmentor: torch.nn.Module, sizes) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    seen = set()
    for size in sizes:
        image = example_image(size)
        labels, = session.run(['labels'], {'images': image[None].numpy().astype(np.float32)})
        expected, sure = predicted(segmentor, image)
        assert labels.dtype == np.int64 and labels.shape == expected.shape == (1, *size)
        assert np.array_equal(labels[sure], expected[sure]) and sure.mean() > 0.999, size
        seen |= set(expected.flat)
    assert len(seen) > 1  # one class everywhere would say nothing


@pytest.mark.parametrize('name', sorted(set(NETWORKS) - set(REFUSED)))
def test_a_file_for_any_size_gives_the_labels_of_torch(tmp_path, name):
    segmentor = network(name)
    lines = export_onnx(segmentor, tmp_path / 'a.onnx')
    assert len(lines) == 6 and not segmentor.training
    assert_the_same_labels(tmp_path / 'a.onnx', segmentor, SIZES)


@pytest.mark.parametrize('name', REFUSED)
def test_a_head_whose_file_would_not_be_right_is_refused_and_leaves_no_file(tmp_path, capfd, name):
    with pytest.raises(OnnxExportError, match=f'^{REFUSED[name]}.*--size HEIGHT WIDTH$'):
        export_onnx(network(name), tmp_path / 'a.onnx')
    assert not list(tmp_path.iterdir()) and capfd.readouterr().out == ''


@pytest.mark.parametrize('build, reason', [
    (two_scales, 'HRDAEncoderDecoder'), (lambda: network('fcn', test_cfg=WINDOWS), "test_cfg.mode='slide'"),
    (lambda: diffusing({}), "inference.noise='keyed'"),
    (lambda: network('fcn', data_preprocessor=dict(type='SegDataPreProcessor', test_cfg=dict(size=(128, 128)))),
     'data_preprocessor.test_cfg.size')], ids=['hrda', 'slide', 'noise', 'padding'])
def test_what_depends_on_the_size_is_refused_by_name(tmp_path, build, reason):
    with pytest.raises(OnnxExportError, match=f'{reason}.*give the one size .* --size HEIGHT WIDTH'):
        export_onnx(build(), tmp_path / 'a.onnx')


@pytest.mark.parametrize('build', [
    two_scales, lambda: two_scales(test_cfg=dict(WINDOWS, batched_slide=True)),
    lambda: network('fcn', test_cfg=WINDOWS), lambda: network('fpn'), lambda: network('isa'), lambda: diffusing({}),
    lambda: diffusing(dict(condition='concat', diffused='label')),
    lambda: diffusing(dict(scheduler=dict(type='DDPMScheduler'), inference=dict(steps=3))),
    lambda: diffusing(dict(scheduler=dict(type='FlowMatchEulerDiscreteScheduler'), inference=dict(steps=2))),
    lambda: diffusing(dict(MASKED, inference=dict(condition='prediction'))),
], ids=['hrda', 'hrda_slide', 'slide', 'fpn', 'isa', 'ddim', 'label', 'ddpm', 'flow', 'two_passes'])
def test_a_file_for_one_size_gives_the_labels_of_torch_and_takes_no_other(tmp_path, build):
    segmentor = build()
    assert len(export_onnx(segmentor, tmp_path / 'a.onnx', size=(64, 96))) == 1
    assert_the_same_labels(tmp_path / 'a.onnx', segmentor, [(64, 96)])
    session = onnxruntime.InferenceSession(str(tmp_path / 'a.onnx'), providers=['CPUExecutionProvider'])
    with pytest.raises(Exception, match='Got invalid dimensions for input: images'):
        session.run(['labels'], {'images': np.zeros((1, 3, 128, 128), np.float32)})


@pytest.mark.parametrize('changes', [dict(inference=dict(noise='zero')), dict(inference=dict(steps=0)),
                                     dict(denoiser=None)], ids=['zero_noise', 'bypassed', 'no_denoiser'])
def test_a_diffusion_head_without_noise_takes_any_size_that_its_denoiser_takes(tmp_path, changes):
    segmentor = diffusing(changes)
    export_onnx(segmentor, tmp_path / 'a.onnx')
    assert_the_same_labels(tmp_path / 'a.onnx', segmentor, [(64, 96), (128, 80), (160, 224)])


@pytest.mark.parametrize('settings', [
    dict(mean=[1., 2., 3.], std=[50., 60., 70.], bgr_to_rgb=False, size=(64, 64)), dict(bgr_to_rgb=True, size=(64, 64)),
    dict(mean=[99.] * 3, std=[50.] * 3, pad_val=2, size=(64, 64), test_cfg=dict(size_divisor=32))],
    ids=['bgr', 'not_normalised', 'padded'])
def test_preprocessing_is_in_the_file(tmp_path, settings):
    segmentor = network('segformer', data_preprocessor=dict(settings, type='SegDataPreProcessor'))
    export_onnx(segmentor, tmp_path / 'a.onnx', metadata=dict(classes=['road', 'sky']))
    assert_the_same_labels(tmp_path / 'a.onnx', segmentor, SIZES)
    stored = {entry.key: entry.value for entry in onnx.load(tmp_path / 'a.onnx').metadata_props}
    assert json.loads(stored['classes']) == ['road', 'sky']


def test_a_missing_package_and_another_preprocessor_are_named(tmp_path, monkeypatch):
    segmentor = network('fcn', data_preprocessor=None)
    with pytest.raises(OnnxExportError, match='data_preprocessor is a BaseDataPreprocessor, allowed is a SegData'):
        export_onnx(segmentor, tmp_path / 'a.onnx')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(OnnxExportError, match='^onnxruntime is missing: pip install onnx onnxruntime'):
        export_onnx(segmentor, tmp_path / 'a.onnx')


def test_a_file_of_other_weights_is_not_accepted(tmp_path):
    segmentor = network('fcn')
    export_onnx(segmentor, tmp_path / 'a.onnx')
    data = (tmp_path / 'a.onnx').read_bytes()
    assert len(check_against_torch(data, segmentor, SIZES[:3])) == 3
    segmentor.decode_head.conv_seg.bias.data[2] += 0.1
    with pytest.raises(OnnxExportError, match='the file for images of 64 x 96 would not be right: scores differ'):
        check_against_torch(data, segmentor, SIZES)


@pytest.mark.parametrize('margin, refused', [(1.5, False), (2.5, True)])
def test_another_class_is_refused_where_twice_the_tolerance_could_not_turn_it(margin, refused):
    scores = torch.tensor([1., 1 - margin * TOLERANCE])[:, None, None]
    wanted, found = Prediction(torch.zeros(1, 1), scores), Prediction(torch.ones(1, 1), scores)
    with pytest.raises(OnnxExportError, match='1 of 1 pixels get another class') if refused else nullcontext():
        assert _compare(found, wanted, (64, 96)).endswith('1 labels differ')


@pytest.mark.parametrize('cells', [1, 6, (3, 4), (None, 2)])
@pytest.mark.parametrize('size', [(4, 6), (7, 13), (5, 3)])
def test_pooling_as_products_is_adaptive_pooling(cells, size):
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = F.adaptive_avg_pool2d(maps, cells)
    with SizeFreeFunctions():
        assert torch.allclose(F.adaptive_avg_pool2d(maps, cells), expected, rtol=0, atol=1e-12)
