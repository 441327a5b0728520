"""A small street set and the quick-start configs shrunk onto it."""
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set

CONFIGS = Path(__file__).parents[2] / 'configs' / 'quickstart'


@pytest.fixture(scope='session')
def street_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A street set of 64 x 64 pixels."""
    root = tmp_path_factory.mktemp('street')
    render_street_set(root, StreetCounts(4, 1, 4, 2), size=(64, 64), report=lambda line: None)
    return root


@pytest.fixture
def shrunk_config(street_root: Path, tmp_path: Path) -> Callable[[str], Config]:
    """Reads a quick-start config by name: crops of 64 x 64, batches of 2, four iterations, no workers."""
    def read(name: str) -> Config:
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        train = cfg.train_dataloader.dataset
        train.rare_class_sampling = None
        for dataset in filter(None, (train.source, train.target, cfg.val_dataloader.dataset)):
            dataset.data_root = str(street_root / Path(dataset.data_root).name)
        for domain in filter(None, (train.source, train.target)):
            next(step for step in domain.pipeline if step.type == 'RandomCrop').crop_size = (64, 64)
        cfg.model.segmentor.data_preprocessor.size = (64, 64)
        cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
        cfg.train_cfg.max_iters = 4
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.work_dir = str(tmp_path / 'work')
        return cfg

    return read
