"""domain_gap prints how well domains can be told apart at levels of degradations."""
import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

TOOLS = Path(__file__).parents[2] / 'tools' / 'analysis_tools'


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., dict[str, list[int]]]:
    """Runs the tool on a config and returns its rows."""
    def run(cfg: Config, *arguments: str) -> dict[str, list[int]]:
        cfg.dump(tmp_path / 'config.py')
        monkeypatch.setattr('sys.argv', ['domain_gap', str(tmp_path / 'config.py'), '--pairs', '60', *arguments])
        monkeypatch.syspath_prepend(str(TOOLS))
        runpy.run_path(str(TOOLS / 'domain_gap.py'), run_name='__main__')
        lines = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines() if ' %' in line]
        return {name: [int(cell.removesuffix(' %')) for cell in cells] for name, *cells in lines}

    return run


def test_the_two_looks_are_told_apart_until_nothing_is_left(shrunk_config, measure):
    rows = measure(shrunk_config('adapt_street'), '--columns', '2', '--degradations', 'noise', 'block')
    assert list(rows) == [f'{name}: {what}' for name in ('noise', 'block')
                          for what in ('colour', 'contrast', 'texture', 'all')]
    for name in ('noise', 'block'):
        clean, gone = rows[f'{name}: all']
        assert clean > 85 and 30 < gone < 70


def test_one_look_is_not_told_apart_from_itself(shrunk_config, measure):
    cfg = shrunk_config('adapt_street')
    train = cfg.train_dataloader.dataset
    train.target.data_root = train.source.data_root
    assert all(25 < accuracy < 75 for row in measure(cfg, '--columns', '1', '--degradations', 'blur').values()
               for accuracy in row)


def test_accuracy_is_that_of_the_best_line(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    told_apart = runpy.run_path(str(TOOLS / 'domain_gap.py'))['told_apart']
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=generator)
    shift = torch.tensor([1.2, 0.5, -0.4])
    source, target = torch.randn(2, 40000, 3, generator=generator)
    expected = 50 * (1 + math.erf(float(shift.norm()) / 2 / math.sqrt(2)))  # of two Gaussians this far apart
    assert told_apart(source @ mixing, (target + shift) @ mixing) == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize('arguments, message', [(('--schedule', 'square'), "schedule='square'"),
                                                (('--pairs', '4'), '2')])
def test_wrong_settings_are_refused(shrunk_config, measure, arguments, message):
    with pytest.raises(SystemExit, match=message):
        measure(shrunk_config('adapt_street'), *arguments)


def test_a_config_without_target_is_refused(shrunk_config, measure):
    with pytest.raises(SystemExit, match='no target images'):
        measure(shrunk_config('source_only_street'))
