"""The comparison of tunings on a small Vision Transformer: its rows, and the distillation that makes its weights."""
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmseg_cicld.datasets.uda_dataset import DrawKey
from mmseg_cicld.engine.comparison import Comparison

ROOT = Path(__file__).parents[1]
STREET = ROOT / 'configs/street'


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of two other pairs, in the folders that render_pair.py writes."""
    for seed, pair in enumerate(('aerial', 'texture')):
        folder = tmp_path / 'data' / pair
        (folder / 'source/images/train').mkdir(parents=True)
        for index in range(2):
            noise = np.random.default_rng(10 * seed + index).integers(0, 256, (140, 150, 3), np.uint8)
            Image.fromarray(noise).save(folder / f'source/images/train/{index}.png')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rows_differ_in_tuning_and_begin_with_the_distilled_weights(monkeypatch):
    monkeypatch.chdir(ROOT)
    comparison = Comparison.from_file(STREET / 'comparisons/tuning.py')
    backbone = Config.fromfile(STREET / 'vit_network.py').model.backbone.to_dict()
    rows = {row.name: row for row in comparison.rows}
    assert len(rows) == 11 and tuple(comparison.seeds) == (0, 1, 2)
    for name in ('all', 'last block', 'LoRA', 'frozen'):
        assert rows[f'{name}: source only'].begin_with == 'distilled, no labels'
        assert rows[f'{name}: DACS'].begin_with == f'{name}: source only'
    for name in rows:
        model = comparison.settings[name]['config']['model']
        found = model['segmentor']['backbone']
        assert found.get('backbone', found) == backbone | dict(out_indices=[5])
        if ': ' in name:
            assert (model['teacher'] is None) == name.endswith('source only')
    assert rows['all, from random weights: source only'].begin_with is None


def test_distillation_learns_from_images_of_other_pairs_alone(pairs):
    config = Config.fromfile(STREET / 'vit_distillation.py')
    init_default_scope('mmseg')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([dataset[DrawKey(0, position)] for position in range(2)])
    assert len(dataset) == 4 and list(batch) == ['target'] and 'gt_sem_seg' not in batch['target']['data_samples'][0]
    assert 'street' not in repr(config.train_dataloader)
    model = MODELS.build(config.model).train()
    model.init_weights()
    before = {name: value.clone() for name, value in model.student.backbone.named_parameters()}
    log = model.train_step(batch, build_optim_wrapper(model, config.optim_wrapper))
    assert math.isfinite(log['foundation.loss_target']) and set(log) == {'loss', 'foundation.loss_target'}
    moved = {name for name, value in model.student.backbone.named_parameters() if not torch.equal(value, before[name])}
    assert any('layer.0.' in name for name in moved) and any('layer.5.' in name for name in moved)
    names = [name for name in model.state_dict() if not name.startswith(('student.', 'objectives.0.head.'))]
    assert names == ['iteration', 'updates', 'teacher_updates'], 'the network that it learns from is not in the checkpoint'
