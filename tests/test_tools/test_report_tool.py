"""tools/report.py reports on trainings of this package and of mmseg, with predictions of their checkpoints."""
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set
from mmseg_cicld.engine import AdaptationRunner
from mmseg_cicld.visualization.examples import read_examples

ROOT = Path(__file__).parents[2]
NO_VALIDATION = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, test_cfg=None, test_dataloader=None,
                     test_evaluator=None)


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trainings of two iterations on images of 64 x 64 pixels; the adaptation has no target labels."""
    folder = tmp_path_factory.mktemp('report')
    render_street_set(folder / 'street', StreetCounts(2, 1, 2, 3), size=(64, 64), report=lambda line: None)
    work_dirs = {}
    for name in ('source_only_street', 'adapt_street'):
        cfg = Config.fromfile(ROOT / f'configs/quickstart/{name}.py')
        train = cfg.train_dataloader.dataset
        train.rare_class_sampling = cfg.custom_hooks = None
        for part in filter(None, (train.source, train.target, cfg.val_dataloader.dataset, cfg.test_dataloader.dataset)):
            part.data_root = str(folder / 'street' / Path(part.data_root).name)
        for domain in filter(None, (train.source, train.target)):
            next(step for step in domain.pipeline if step.type == 'RandomCrop').crop_size = (64, 64)
        cfg.model.segmentor.data_preprocessor.size = (64, 64)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.log_level, cfg.work_dir = 'WARNING', str(folder / name)
        if name == 'adapt_street':
            cfg.update(NO_VALIDATION)
        AdaptationRunner.from_cfg(cfg).train()
        work_dirs[name] = folder / name
    return work_dirs


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*arguments: str | Path) -> None:
        monkeypatch.setattr(sys, 'argv', ['report', '--device', 'cpu', *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools/report.py'), run_name='__main__')

    return run


def test_every_training_has_a_report_at_its_end(trained):
    assert all((folder / 'report.html').is_file() for folder in trained.values())


def test_target_images_without_labels_are_predicted_by_all_networks(trained, report, capsys):
    report(trained['adapt_street'], '--source-only', trained['source_only_street'], '--images', '5')
    assert capsys.readouterr().out.splitlines()[-1] == str(trained['adapt_street'] / 'report.html')
    examples, origin, *_ = read_examples(trained['adapt_street'])
    assert origin == 'iter_2.pth' and len(examples) == 2, 'all there are'
    for example in examples:
        assert list(example.predictions) == ['source-only', 'adapted', 'pseudo-label'] and example.label is None
        assert all(part.shape == (64, 64) for part in example.predictions.values())
    page = (trained['adapt_street'] / 'report.html').read_text()
    assert 'not whether they are right' in page and 'mIoU, source-only' in page
    assert not np.array_equal(examples[0].image, examples[1].image)


def test_validation_images_have_labels_and_a_plain_copy_of_a_training_is_enough(trained, report, tmp_path):
    work_dir = shutil.copytree(trained['source_only_street'], tmp_path / 'copy')
    shutil.rmtree(work_dir / 'report')  # as a training without the hook leaves it
    report(work_dir, '--images', '2')
    examples, _, classes, palette = read_examples(work_dir)
    assert classes[0] == 'road' and palette[0] == [128, 64, 128]
    assert [list(example.predictions) for example in examples] == [['prediction']] * 2
    assert all(example.label is not None and example.confidence.min() >= 1 / 19 for example in examples)
    assert 'ReportHook' in (work_dir / 'report.html').read_text()


@pytest.mark.parametrize('arguments, message', [
    (['nowhere'], 'nowhere holds no training'),
    (['WORK', '--oracle', 'nowhere'], 'nowhere holds no training'),
    (['WORK', '--checkpoint', 'best'], 'has no best checkpoint to predict with: give --images 0'),
])
def test_mistakes_are_one_line(trained, report, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message) as ended:
        report(*[trained['adapt_street'] if argument == 'WORK' else argument for argument in arguments])
    assert '\n' not in str(ended.value)


def test_images_that_are_gone_and_folders_without_config_are_named(trained, report, tmp_path):
    work_dir = shutil.copytree(trained['source_only_street'], tmp_path / 'copy')
    for file in work_dir.glob('*.py'):
        file.unlink()
    with pytest.raises(SystemExit, match=r'has no config \(\*.py\) to predict with'):
        report(work_dir)
    report(work_dir, '--images', '0')
    assert 'Predictions' not in (work_dir / 'report.html').read_text().partition('What is not shown')[0]
