"""Scores over part of the classes; files for test servers."""
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS, METRICS
from tiny_datasets import random_image, write_image

CITYSCAPES = CityscapesDataset.METAINFO['classes']
CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
ACDC = CONFIGS / 'cityscapes2acdc-512x512.py'


def evaluate(metric, predictions, labels=None, classes=CITYSCAPES):
    metric.dataset_meta = dict(classes=classes)
    samples = []
    for i, prediction in enumerate(predictions):
        sample = dict(pred_sem_seg=dict(data=torch.from_numpy(prediction)[None]),
                      img_path=f'data/city_{i:02}_leftImg8bit.png')
        if labels is not None:
            sample['gt_sem_seg'] = dict(data=torch.from_numpy(labels[i])[None])
        samples.append(sample)
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def iou(prediction: np.ndarray, label: np.ndarray, class_id: int) -> float:
    seen = label != 255
    inside, true = (prediction == class_id) & seen, (label == class_id) & seen
    return (inside & true).sum() / (inside | true).sum() if (inside | true).any() else np.nan


@pytest.fixture(scope='module')
def subset_config():
    return Config.fromfile(CONFIGS / 'synthia2cityscapes-512x512.py').val_evaluator


def test_subsets_of_synthia(subset_config):
    sixteen, thirteen = (set(subset_config.subsets[name]) for name in ('mIoU16', 'mIoU13'))
    assert set(CITYSCAPES) - sixteen == {'terrain', 'truck', 'train'}
    assert sixteen - thirteen == {'wall', 'fence', 'pole'} and len(thirteen) == 13


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_mean_over_subsets(subset_config, seed):
    generator = np.random.default_rng(seed)
    labels = [generator.integers(0, 20, (8, 8)) for _ in range(3)]
    labels = [np.where(label == 19, 255, label) for label in labels]
    predictions = [np.where(generator.random((8, 8)) < 0.5, label % 19, generator.integers(0, 19, (8, 8)))
                   for label in labels]
    scores = evaluate(METRICS.build(subset_config), predictions, labels)
    joined = np.concatenate(predictions), np.concatenate(labels)
    ious = [iou(*joined, class_id) for class_id in range(19)]
    for name, members in dict(subset_config.subsets, mIoU=CITYSCAPES).items():
        expected = np.nanmean([ious[CITYSCAPES.index(member)] for member in members]) * 100
        assert abs(scores[name] - expected) < 0.0051


def test_published_relation_to_19_classes(subset_config):
    """With IoU 0 for the three missing classes, mIoU16 = mIoU19 * 19 / 16."""
    label = np.repeat(np.arange(19), 4).reshape(4, 19)
    prediction = np.where(np.isin(label, [9, 14, 16]), 0, label)
    scores = evaluate(METRICS.build(subset_config), [prediction], [label])
    assert abs(scores['mIoU16'] - scores['mIoU'] * 19 / 16) < 0.02 and scores['mIoU13'] > scores['mIoU']


def test_unknown_class_of_a_subset():
    metric = METRICS.build(dict(type='SubsetIoUMetric', subsets=dict(mine=['car', 'boat'])))
    with pytest.raises(ValueError, match=r"subsets.mine names \['boat'\]"):
        evaluate(metric, [np.zeros((2, 2), int)], [np.zeros((2, 2), int)])


def test_server_files_with_training_ids(tmp_path):
    prediction = np.arange(19)[None].repeat(3, 0)
    assert evaluate(METRICS.build(dict(type='TestServerFormat', output_dir=str(tmp_path / 'out'))), [prediction]) == {}
    written = cv2.imread(str(tmp_path / 'out' / 'city_00_leftImg8bit.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, prediction)


def test_server_files_with_label_ids(tmp_path):
    metric = METRICS.build(dict(type='TestServerFormat', output_dir=str(tmp_path), ids='label'))
    evaluate(metric, [np.arange(19)[None]])
    written = cv2.imread(str(tmp_path / 'city_00_leftImg8bit.png'), cv2.IMREAD_UNCHANGED)
    assert written[0].tolist() == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    with pytest.raises(ValueError, match="class 19 was predicted: use ids='train'"):
        evaluate(metric, [np.full((2, 2), 19)])


def test_server_files_that_would_overwrite_each_other(tmp_path):
    metric = METRICS.build(dict(type='TestServerFormat', output_dir=str(tmp_path)))
    metric.process({}, [dict(pred_sem_seg=dict(data=torch.zeros(1, 2, 2)), img_path=f'{d}/x.png') for d in 'ab'])
    with pytest.raises(ValueError, match=r"same file name.*x.png"):
        metric.evaluate(2)


def test_unknown_kind_of_ids(tmp_path):
    with pytest.raises(ValueError, match="ids='colour'"):
        METRICS.build(dict(type='TestServerFormat', output_dir=str(tmp_path), ids='colour'))


def test_config_in_the_docstring(tmp_path, monkeypatch):
    """The example works on a real dataset config, with images that have no labels."""
    lines = METRICS.get('TestServerFormat').__doc__.split('::\n')[1].split('    Args:')[0]
    (tmp_path / 'server.py').write_text(textwrap.dedent(lines).replace('CONFIG.py', str(ACDC)))
    config = Config.fromfile(tmp_path / 'server.py')
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / 'data/acdc/rgb_anon/test/GOPR/a_rgb_anon.png', random_image(0))
    dataset = DATASETS.build(config.test_dataloader.dataset)
    assert dataset[0]['inputs'].shape == (3, 540, 900)
    evaluate(METRICS.build(config.test_evaluator), [np.zeros((24, 40), int)])
    assert (tmp_path / 'work_dirs' / 'labelTrainIds' / 'city_00_leftImg8bit.png').exists()
