"""The hook draws the steps of a real training through the visualizer."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import BaseVisBackend, MLflowVisBackend, Visualizer
from mmseg.registry import VISBACKENDS
from PIL import Image

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint
from mmseg_cicld.visualization import UDAVisualizationHook
from mmseg_cicld.visualization.visualization_hook import add_picture

ROOT = Path(__file__).parents[2]


def _train(cfg: Config, **hook: int) -> Path:
    cfg.custom_hooks = [dict(type='UDAVisualizationHook', **hook)]
    runner = AdaptationRunner.from_cfg(cfg)
    runner.train()
    assert not runner.model.keep_step and runner.model.kept_step is None
    return Path(cfg.work_dir)


def test_adaptation_panels_reach_every_backend(shrunk_config):
    cfg = shrunk_config('adapt_street')
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    work_dir = _train(cfg, interval=2, max_samples=1)
    pictures = sorted(path.name for path in work_dir.rglob('vis_image/*.png'))
    assert pictures == ['training_step_2.png', 'training_step_4.png']
    events = next(work_dir.rglob('events.out.tfevents*')).read_bytes()
    assert events.count(b'training_step') >= 2
    panel = cv2.imread(str(next(work_dir.rglob('training_step_2.png'))))
    assert panel.shape[1] > 8 * 200, 'eight tiles: source, target, pseudo-label, mix, labels and weights'


@VISBACKENDS.register_module()
class SavesByName(BaseVisBackend):
    """Writes pictures to files of their names, as MLflow does; the format has to stand in the name."""

    @property
    def experiment(self) -> 'SavesByName':
        return self

    def _init_env(self) -> None:
        """Needs nothing."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        Image.fromarray(image).save(Path(self._save_dir) / name)


class MLflowLike(MLflowVisBackend):
    """mmengine's backend of MLflow, with a record in place of the connection."""

    def __init__(self, names: list[str]) -> None:
        self._env_initialized, self._mlflow = True, self
        self.log_image = lambda image, name: names.append(name)


def test_backends_that_save_by_name_get_names_with_a_format(shrunk_config):
    cfg = shrunk_config('adapt_street')
    cfg.visualizer.vis_backends = [dict(type='SavesByName', save_dir=cfg.work_dir)]
    work_dir = _train(cfg, interval=2, max_samples=1)
    assert cv2.imread(str(work_dir / 'training_step.png')).ndim == 3


def test_pictures_in_mlflow_do_not_replace_each_other():
    names: list[str] = []
    visualizer = Visualizer(name='mlflow', vis_backends=[MLflowLike(names)], save_dir='unused')
    for step in (1, 2):
        add_picture(visualizer, 'training_step', np.zeros((2, 2, 3), np.uint8), step)
    assert names == ['training_step_1.png', 'training_step_2.png']


def test_one_row_for_each_sample(shrunk_config):
    heights = []
    for rows in (1, 2):
        cfg = shrunk_config('source_only_street')
        cfg.work_dir += str(rows)
        heights.append(cv2.imread(str(next(_train(cfg, interval=4, max_samples=rows).rglob('*.png')))).shape[0])
    assert heights[1] == 2 * heights[0]


def test_source_only_panel_shows_image_and_label(shrunk_config, street_root):
    work_dir = _train(shrunk_config('source_only_street'), interval=4, max_samples=1)
    panel = cv2.imread(str(next(work_dir.rglob('training_step_4.png'))))
    assert 2 * 200 < panel.shape[1] < 3 * 200
    colours = {tuple(colour) for colour in panel.reshape(-1, 3)}
    assert (128, 64, 128) in colours, 'the road of the label in its palette colour'
    assert len(np.unique(panel)) > 50, 'an image beside it'


def _cicld(cfg: Config, **inference) -> Config:
    """The CICLD of the street set, on the data of a shrunk config."""
    cicld = Config.fromfile(ROOT / 'configs/street/cicld_street.py')
    cicld.model.segmentor.backbone.init_cfg = None
    cicld.model.segmentor.data_preprocessor.size = (64, 64)
    cicld.model.segmentor.decode_head.inference.update(inference)
    cfg.model = cicld.model
    return cfg


def test_a_denoising_network_shows_its_steps_and_trains_as_without(shrunk_config):
    ends = []
    for interval in (2, 9):
        cfg = _cicld(shrunk_config('adapt_street'), steps=3)
        cfg.work_dir += str(interval)
        cfg.train_cfg.max_iters = 3
        work_dir = _train(cfg, interval=interval, max_samples=2)
        ends.append(read_checkpoint(work_dir / 'iter_3.pth')['state_dict'])
        assert sorted(path.name for path in work_dir.rglob('vis_image/*.png')) == (
            ['denoising_2.png', 'training_step_2.png'] if interval == 2 else [])
        if interval == 2:
            panel = cv2.imread(str(next(work_dir.rglob('denoising_2.png'))))
            tile = 256  # 64 pixels, enlarged
            assert 5 * tile < panel.shape[1] < 6 * tile, 'image, latent and three steps'
            assert 4 * tile < panel.shape[0] < 5 * tile, 'two rows for each of two samples'
    assert all(torch.equal(ends[0][name], value) for name, value in ends[1].items())


def test_a_bypassed_denoiser_has_no_steps_to_show(shrunk_config):
    cfg = _cicld(shrunk_config('adapt_street'), steps=0)
    cfg.train_cfg.max_iters = 1
    work_dir = _train(cfg, interval=1, max_samples=1)
    assert [path.name for path in work_dir.rglob('vis_image/*.png')] == ['training_step_1.png']


@pytest.mark.parametrize('arguments', [dict(interval=0), dict(max_samples=0)])
def test_refuses_what_draws_nothing(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        UDAVisualizationHook(**arguments)


def test_refuses_a_model_without_steps(shrunk_config):
    cfg = shrunk_config('source_only_street')
    cfg.model = cfg.model.segmentor
    with pytest.raises(TypeError, match='EncoderDecoder'):
        _train(cfg)
