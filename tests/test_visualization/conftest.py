"""A small street set, the quick-start configs shrunk onto it, and folders of trainings made up for reports."""
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set
from mmseg_cicld.visualization import Example, save_examples
from mmseg_cicld.visualization.training_record import FOLDER, LAST_STEP, TrainingRecord

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_engine'))

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


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[..., Path]:
    """Makes the folder of a training of 200 iterations: its record, config, checkpoints, last step and predictions."""
    def make(name: str, classes: tuple[str, ...] = ('road', 'train'), score: float = 30.0, pictures: bool = True,
             **changed: object) -> Path:
        work_dir, numbers = tmp_path / name, np.random.default_rng(0)
        count = len(classes)
        record = TrainingRecord(
            run=dict(model='UDAWrapper', objectives=['SourceSupervision', 'ClassMixSelfTraining'], target=True,
                     threshold=0.968, config='adapt.py', max_iters=200, processes=1, folder=str(tmp_path),
                     images=str(tmp_path / 'target images'), versions={'torch': '2.13.0'}, device='CPU & friends'),
            classes=list(classes), palette=numbers.integers(0, 256, (count, 3)).tolist(), iterations=200, seconds=700.5,
            losses={'loss': {at: 3 - at / 100 for at in range(10, 201, 10)},
                    'mix.decode.loss_ce': {10: 1.0, 100: float('nan'), 200: 0.5}},
            learning_rate={10: 6e-5, 200: 0.0}, miou={100: score / 2, 200: score},
            iou={200: [2 * score, *[None] * (count - 1)]}, confident_share={10: 0.2, 200: 0.7},
            confidence={10: 0.4, 200: 0.9}, agreement={10: 0.5, 200: 0.8},
            class_shares={10: [1 / count] * count, 200: [1.0, *[0.0] * (count - 1)]})
        for key, value in changed.items():
            setattr(record, key, value)
        record.write(work_dir)
        for file in ('adapt.py', 'iter_100.pth', 'iter_200.pth', 'best_mIoU_iter_100.pth'):
            (work_dir / file).touch()
        if pictures:
            label, image = (numbers.integers(0, count, (40, 60), dtype=np.uint8),
                            numbers.integers(0, 256, (40, 60, 3), dtype=np.uint8))
            save_examples(work_dir, [Example(image, label, {'adapted': label, 'pseudo-label': label},
                                             np.full((40, 60), 0.75, np.float32))], 'iter_200.pth')
            np.savez(work_dir / FOLDER / LAST_STEP, source_image=image.transpose(2, 0, 1)[None], source_label=label[None],
                     pseudo_label=label[None], pseudo_confidence=np.full((1, 40, 60), 0.5, np.float16))
        return work_dir

    return make
