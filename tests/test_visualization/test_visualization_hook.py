"""The hook draws the steps of a real training through the visualizer."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmseg_cicld.engine import AdaptationRunner
from mmseg_cicld.visualization import UDAVisualizationHook


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


def test_one_row_for_each_sample(shrunk_config):
    heights = []
    for rows in (1, 2):
        cfg = shrunk_config('source_only_street')
        cfg.work_dir += str(rows)
        cfg.visualizer.name += str(rows)
        heights.append(cv2.imread(str(next(_train(cfg, interval=4, max_samples=rows).rglob('*.png')))).shape[0])
    assert heights[1] == 2 * heights[0]


def test_source_only_panel_shows_image_and_label(shrunk_config, street_root):
    work_dir = _train(shrunk_config('source_only_street'), interval=4, max_samples=1)
    panel = cv2.imread(str(next(work_dir.rglob('training_step_4.png'))))
    assert 2 * 200 < panel.shape[1] < 3 * 200
    colours = {tuple(colour) for colour in panel.reshape(-1, 3)}
    assert (128, 64, 128) in colours, 'the road of the label in its palette colour'
    assert len(np.unique(panel)) > 50, 'an image beside it'


@pytest.mark.parametrize('arguments', [dict(interval=0), dict(max_samples=0)])
def test_refuses_what_draws_nothing(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        UDAVisualizationHook(**arguments)


def test_refuses_a_model_without_steps(shrunk_config):
    cfg = shrunk_config('source_only_street')
    cfg.model = cfg.model.segmentor
    with pytest.raises(TypeError, match='EncoderDecoder'):
        _train(cfg)
