"""tools/predict.py on a tiny real segmentor: folders, globs, videos, ids, tiles, and what is refused."""
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.datasets import CityscapesDataset
from mmseg.registry import MODELS

from mmseg_cicld.datasets.cityscapes_ids import LABEL_IDS
from mmseg_cicld.engine.exporting import plain_config, write_segmentor
from mmseg_cicld.engine.prediction import load_model, predict, starts, window_logits

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/predict.py'))


@pytest.fixture
def model(tmp_path: Path, mmseg_scope: None) -> Path:
    """An exported SegFormer of EfficientNet-Lite0 with random weights."""
    config = Config.fromfile(ROOT / 'configs/_base_/models/segformer_efficientnet-lite0.py')
    config.test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(120, 90), keep_ratio=True),
                            dict(type='PackSegInputs')]
    torch.manual_seed(0)
    config.model.decode_head.channels = 16
    plain = plain_config(config)
    write_segmentor(tmp_path / 'model', plain, MODELS.build(plain.model).state_dict(), CityscapesDataset.METAINFO)
    return tmp_path / 'model'


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draws = np.random.default_rng(1)
    for name, size in (('a.png', (70, 95, 3)), ('deep/b.JPG', (64, 64, 3))):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'in' / name), cv2.resize(draws.integers(0, 255, (8, 8, 3), np.uint8), size[1::-1]))
    return tmp_path / 'in'


def predicted(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['predict.py', *map(str, arguments), '--device', 'cpu'])
    runpy.run_path(str(ROOT / 'tools/predict.py'), run_name='__main__')


def test_a_folder_gives_what_mmseg_predicts_in_each_kind_of_ids(model, pictures, tmp_path, monkeypatch):
    network = init_model(str(model / 'segmentor.py'), str(model / 'segmentor.pth'), device='cpu')
    for kind, table in (('train', range(19)), ('cityscapes', LABEL_IDS), ('acdc', LABEL_IDS)):
        predicted(monkeypatch, model, pictures, '-o', tmp_path / kind, '--ids', kind, '--probabilities')
        for name, file in (('a', 'a.png'), ('deep/b', 'deep/b.JPG')):
            expected = inference_model(network, str(pictures / file)).pred_sem_seg.data[0].numpy()
            label = cv2.imread(str(tmp_path / kind / f'labels/{name}.png'), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(label, np.array(table)[expected])
            probabilities = np.load(tmp_path / kind / f'probabilities/{name}.npz')['probabilities']
            np.testing.assert_allclose(probabilities.astype(np.float32).sum(axis=0), 1, atol=0.01)
            overlay = cv2.imread(str(tmp_path / kind / f'overlays/{name}.png'))
            assert overlay.shape[1] == label.shape[1] and overlay.shape[0] > label.shape[0]


def test_the_benchmark_compares_with_the_inferencer_of_mmseg(model, pictures, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['benchmark_inference.py', str(model), str(pictures), '--warmup', '0'])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/benchmark_inference.py'), run_name='__main__')
    printed = capsys.readouterr().out
    found = json.loads(printed[printed.index('{\n'):])
    assert found['pixels_with_another_label'] == dict(MMSegInferencer=0, ours=0) and found['images'] == 2
    assert set(found['shares']) == {'reading', 'resizing', 'network', 'labels', 'writing'}
    assert found['times_as_many_as_mmseg']['ours'] > 0 and found['pixels'] == 70 * 95 + 64 * 64


def test_globs_single_images_and_videos(model, pictures, tmp_path, monkeypatch):
    predicted(monkeypatch, model, f'{pictures}/**/*.JPG', '-o', tmp_path / 'glob', '--no-overlays')
    predicted(monkeypatch, model, pictures / 'a.png', '-o', tmp_path / 'single', '--no-overlays')
    video = cv2.VideoWriter(str(tmp_path / 'drive.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 64))
    for _ in range(3):
        video.write(cv2.imread(str(pictures / 'deep/b.JPG')))
    video.release()
    predicted(monkeypatch, model, tmp_path / 'drive.avi', '-o', tmp_path / 'video', '--no-overlays')
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('labels/**/*.png')}
    assert found == {'glob/labels/deep/b.png', 'single/labels/a.png',
                     *(f'video/labels/drive_{number:06d}.png' for number in range(3))}


def test_tiles_cover_every_pixel_and_one_tile_is_the_whole(model, pictures):
    network = load_model(model, None, 'cpu')
    network.cfg.test_pipeline = []
    image = cv2.imread(str(pictures / 'a.png'))
    labels, whole = predict(network, image, None, 0)
    np.testing.assert_array_equal(labels, whole.argmax(axis=0))
    np.testing.assert_array_equal(predict(network, image, 128, 32)[1], whole)
    tiled = predict(network, image, 64, 32)[1]
    np.testing.assert_allclose(tiled.sum(axis=0), 1, atol=1e-5)
    with torch.no_grad():
        corner = window_logits(network, image[:64, :64]).softmax(dim=0).numpy()
    np.testing.assert_allclose(tiled[:, :6, :31], corner[:, :6, :31], atol=1e-6)
    assert starts(95, 64, 32) == [0, 31] and starts(160, 64, 32) == [0, 32, 64, 96]


@pytest.mark.parametrize('source, message', [
    ('nowhere', 'nowhere holds no image'), ('broken.mp4', 'has no frame'), ('broken.png', 'broken.png is damaged')])
def test_input_that_cannot_be_used_is_one_line(model, tmp_path, monkeypatch, source, message):
    for name in ('broken.mp4', 'broken.png'):
        (tmp_path / name).write_text('text')
    with pytest.raises(SystemExit) as error:
        predicted(monkeypatch, model, tmp_path / source, '-o', tmp_path / 'out')
    assert message in str(error.value) and '\n' not in str(error.value)


def test_a_folder_without_a_model_and_ids_of_other_classes_are_refused(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match='there is no .*segmentor.py'):
        predicted(monkeypatch, tmp_path, tmp_path, '-o', tmp_path / 'out')
    with pytest.raises(ValueError, match='--ids acdc is for the 19 classes of Cityscapes, the model has 3'):
        TOOL['id_table']('acdc', 3)


def test_a_checkpoint_is_predicted_with_its_config(model, pictures, tmp_path, monkeypatch):
    predicted(monkeypatch, model, pictures, '-o', tmp_path / 'folder', '--no-overlays')
    predicted(monkeypatch, model / 'segmentor.pth', pictures, '-o', tmp_path / 'beside', '--no-overlays')
    (tmp_path / 'alone').mkdir()
    (model / 'segmentor.pth').rename(tmp_path / 'alone/weights.pth')
    with pytest.raises(SystemExit, match='there is no config .* beside .*weights.pth.*--config'):
        predicted(monkeypatch, tmp_path / 'alone/weights.pth', pictures, '-o', tmp_path / 'none')
    predicted(monkeypatch, tmp_path / 'alone/weights.pth', pictures, '-o', tmp_path / 'given', '--no-overlays', '--config',
              model / 'segmentor.py')
    for name in ('a', 'deep/b'):
        label, *others = ((tmp_path / kind / f'labels/{name}.png').read_bytes() for kind in ('folder', 'beside', 'given'))
        assert others == [label, label]


def test_a_training_is_predicted_by_its_best_checkpoint_and_evaluated_network(pictures, tmp_path, monkeypatch, mmseg_scope):
    segmentor = Config.fromfile(ROOT / 'configs/_base_/models/segformer_efficientnet-lite0.py').model
    segmentor.backbone.init_cfg = None
    segmentor.decode_head.update(channels=8, num_classes=2, out_channels=1, threshold=0.3, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True))
    config = Config(dict(model=dict(type='ClassMixEMA', segmentor=segmentor, teacher=dict(momentum=0.9), evaluate='teacher',
                                    objectives=[dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining')])))
    torch.manual_seed(3)
    wrapper = MODELS.build(config.model)
    for parameter in wrapper.teacher.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    work = tmp_path / 'work'
    work.mkdir()
    config.dump(work / 'training.py')
    state = dict(meta=dict(dataset_meta=dict(classes=('no', 'yes'))), state_dict=wrapper.state_dict())
    torch.save(state, work / 'best_mIoU_iter_2.pth')
    torch.save(dict(state, state_dict={}), work / 'iter_4.pth')
    predicted(monkeypatch, work, pictures, '-o', tmp_path / 'out', '--probabilities', '--no-overlays')
    teacher = wrapper.teacher.network.eval()
    image = cv2.imread(str(pictures / 'a.png'))
    yes = window_logits(teacher, image).sigmoid()[0].numpy()
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'out/labels/a.png'), cv2.IMREAD_UNCHANGED), yes > 0.3)
    found = np.load(tmp_path / 'out/probabilities/a.npz')['probabilities']
    np.testing.assert_allclose(found, [1 - yes, yes], atol=1e-3)
