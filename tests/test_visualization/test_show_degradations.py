"""show_degradations draws levels of degradations of the training images."""
import runpy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'show_degradations.py'


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """Runs the tool on a config and returns the picture."""
    def run(cfg: Config, *arguments: str) -> np.ndarray:
        cfg.dump(tmp_path / 'config.py')
        monkeypatch.setattr('sys.argv', ['show_degradations', str(tmp_path / 'config.py'), '--output',
                                         str(tmp_path / 'out/levels.png'), *arguments])
        runpy.run_path(str(TOOL), run_name='__main__')
        return cv2.imread(str(tmp_path / 'out/levels.png'))

    return run


def test_a_row_for_each_degradation_and_domain(shrunk_config, show):
    picture = show(shrunk_config('adapt_street'), '--columns', '3')
    one = show(shrunk_config('adapt_street'), '--columns', '3', '--degradations', 'blur')
    assert picture.shape[0] == 5 * one.shape[0] and picture.shape[1] == one.shape[1] > 4 * 200


def test_levels_go_from_clean_to_nothing(shrunk_config, show):
    picture = show(shrunk_config('adapt_street'), '--columns', '2', '--degradations', 'blob', '--steps', '50')
    width = picture.shape[1] // 3
    clean, first, last = (picture[30:150, place * width + 10:(place + 1) * width - 10].astype(int) for place in range(3))
    assert abs(clean - first).mean() < 10
    assert last.std(axis=(0, 1)).max() < 2  # the mean colour


@pytest.mark.parametrize('arguments, message', [(('--schedule', 'square'), "schedule='square'"),
                                                (('--steps', '10', '--schedule', 'linear'), 'more than 20 steps')])
def test_wrong_settings_end_with_one_line(shrunk_config, show, arguments, message):
    with pytest.raises(SystemExit, match=message):
        show(shrunk_config('adapt_street'), *arguments)


def test_numbers_out_of_range_are_refused(shrunk_config, show, capsys):
    with pytest.raises(SystemExit, match='2'):
        show(shrunk_config('adapt_street'), '--columns', '0')
    assert 'at least' in capsys.readouterr().err
