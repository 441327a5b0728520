"""browse_dataset draws the batches of the training."""
import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmseg_cicld.engine import AdaptationRunner

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'browse_dataset.py'


@pytest.fixture
def browse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the tool on a config."""
    def run(cfg: Config, *arguments: str) -> None:
        cfg.dump(tmp_path / 'config.py')
        monkeypatch.setattr('sys.argv', ['browse_dataset', str(tmp_path / 'config.py'), '--output-dir',
                                         str(tmp_path / 'out'), *arguments])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_pictures_of_the_mixed_batches_of_chosen_iterations(shrunk_config, browse, tmp_path):
    browse(shrunk_config('adapt_street'), '--number', '2', '--first', '3')
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['iteration_000003.png', 'iteration_000004.png']
    assert cv2.imread(str(tmp_path / 'out/iteration_000003.png')).shape[1] > 5 * 200, 'five tiles a row'


def test_it_draws_what_the_training_mixes(shrunk_config, browse, tmp_path):
    cfg = shrunk_config('adapt_street')
    cfg.custom_hooks = [dict(type='UDAVisualizationHook', interval=2, max_samples=2)]
    browse(cfg, '--number', '1', '--first', '1')
    AdaptationRunner.from_cfg(cfg).train()
    trained = cv2.imread(str(next(Path(cfg.work_dir).rglob('training_step_2.png'))))
    drawn = cv2.imread(str(tmp_path / 'out/iteration_000001.png'))
    tile = drawn.shape[1] // 5
    for name, place_drawn, place_trained in (('source', 0, 0), ('target', 2, 2), ('mix', 3, 5)):
        pictures = [panel[22:, place * tile:(place + 1) * tile].astype(int)
                    for panel, place in ((drawn, place_drawn), (trained, place_trained))]
        assert abs(pictures[0] - pictures[1]).max() <= 1, name


def test_a_dataset_of_another_kind_is_refused_with_the_key_to_change(shrunk_config, browse):
    cfg = shrunk_config('source_only_street')
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.source
    with pytest.raises(SystemExit, match='train_dataloader.dataset is a CityscapesDataset'):
        browse(cfg)


@pytest.mark.parametrize('arguments', [('--number', '0'), ('--first', '-1')])
def test_numbers_out_of_range_are_refused(shrunk_config, browse, capsys, arguments):
    with pytest.raises(SystemExit, match='2'):
        browse(shrunk_config('source_only_street'), *arguments)
    assert 'at least' in capsys.readouterr().err
