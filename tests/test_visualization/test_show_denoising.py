"""Pictures of latents, and the tool that draws denoising step by step."""
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set
from mmseg_cicld.visualization.latents import latent_colours

ROOT = Path(__file__).parents[2]


def test_colours_are_the_first_three_principal_components():
    torch.manual_seed(0)
    latent = torch.randn(6, 64, 64) * torch.tensor([9., 5., 3., 0.1, 0.1, 0.1])[:, None, None]
    first, second = latent_colours([latent, latent + 0.01])
    points = latent.flatten(1).T - latent.flatten(1).mean(1)
    for axis in range(3):  # nearly the axes of the largest variance
        colour = first.reshape(-1, 3)[:, axis].astype(float)
        inside = (colour > 0) & (colour < 255)
        assert abs(np.corrcoef(colour[inside], points[:, axis].numpy()[inside])[0, 1]) > 0.98
    assert np.abs(first.astype(int) - second).max() <= 2


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Config:
    root = tmp_path_factory.mktemp('street')
    render_street_set(root, StreetCounts(1, 1, 1, 2), size=(64, 64), report=lambda line: None)
    cfg = Config.fromfile(ROOT / 'configs/street/cicld_street.py')
    init_default_scope('mmseg')
    cfg.test_dataloader.dataset.data_root = str(root / Path(cfg.test_dataloader.dataset.data_root).name)
    cfg.model.segmentor.backbone.init_cfg = None
    cfg.model.segmentor.decode_head.inference.steps = 4
    return cfg


def draw(cfg: Config, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> np.ndarray:
    cfg.dump(folder / 'config.py')
    monkeypatch.setattr('sys.argv', ['show_denoising', str(folder / 'config.py'), '--output', str(folder / 'out.png'),
                                     *arguments])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/show_denoising.py'), run_name='__main__')
    return cv2.imread(str(folder / 'out.png'))


def test_two_rows_for_each_image_and_a_column_for_each_step(config, tmp_path, monkeypatch):
    torch.save(MODELS.build(config.model).state_dict(), tmp_path / 'weights.pth')
    one = draw(config, tmp_path, monkeypatch, '--columns', '2', '--checkpoint', str(tmp_path / 'weights.pth'))
    two = draw(config, tmp_path, monkeypatch, '--columns', '4', '--indices', '0', '1')
    assert two.shape[0] > 1.9 * one.shape[0]
    assert two.shape[1] == pytest.approx(6 / 4 * one.shape[1], rel=0.05)


@pytest.mark.parametrize('steps, arguments, message', [
    (0, (), 'no denoising to draw'), (1, ('--indices', '9'), 'the test set has 2 images')])
def test_what_cannot_be_drawn_is_said(config, tmp_path, monkeypatch, steps, arguments, message):
    config = Config(config._cfg_dict.to_dict())
    config.model.segmentor.decode_head.inference.steps = steps
    with pytest.raises(SystemExit, match=message):
        draw(config, tmp_path, monkeypatch, *arguments)
