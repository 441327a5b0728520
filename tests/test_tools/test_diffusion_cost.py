"""diffusion_cost measures inference steps and the inter-coder connection of any config with a diffusion head."""
import json
import runpy
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_cicld.datasets.street_set import StreetCounts, render_street_set

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools' / 'analysis_tools'


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the tool on a street config with a checkpoint of random weights, returns its tables."""
    def run(config: str, *arguments: str, checkpoint: bool = True) -> dict:
        render_street_set(tmp_path / 'street', StreetCounts(1, 1, 1, 2), size=(64, 64), report=lambda line: None)
        cfg = Config.fromfile(ROOT / f'configs/street/{config}.py')
        dataset = cfg.test_dataloader.dataset
        dataset.data_root = str(tmp_path / 'street' / Path(dataset.data_root).name)
        cfg.model.segmentor.backbone.init_cfg = None
        cfg.dump(tmp_path / 'config.py')
        if checkpoint:
            init_default_scope('mmseg')
            torch.save(MODELS.build(cfg.model).state_dict(), tmp_path / 'weights.pth')
            arguments += '--checkpoint', str(tmp_path / 'weights.pth')
        monkeypatch.syspath_prepend(str(TOOLS))
        monkeypatch.setattr('sys.argv', [
            'diffusion_cost', str(tmp_path / 'config.py'), '--output', str(tmp_path / 'out'), '--repeats', '1',
            '--sizes', '64x64', '64x128', '--classes', '19', '40', '--device', 'cpu', *arguments])
        runpy.run_path(str(TOOLS / 'diffusion_cost.py'), run_name='__main__')
        return json.loads((tmp_path / 'out/cost.json').read_text())

    return run


def test_measures_steps_and_connection(measure, tmp_path):
    tables = measure('cicld_street', '--steps', '0', '1', '8')
    bypassed, one, eight = tables['steps']
    assert [row['steps'] for row in tables['steps']] == [0, 1, 8]
    assert bypassed['latency_ms'] < eight['latency_ms']
    assert all(0 <= row['miou'] <= 100 for row in tables['steps'])
    assert bypassed['memory_mib'] <= one['memory_mib'] == pytest.approx(eight['memory_mib'], rel=0.02)
    assert len(tables['connection']) == 8
    for without, connected in zip(tables['connection'][::2], tables['connection'][1::2]):
        assert (without['connect'], connected['connect']) == (False, True)
        assert without['head_parameters_m'] < connected['head_parameters_m']
        assert without['memory_mib'] < connected['memory_mib']
    assert '| steps | miou |' in (tmp_path / 'out/cost.md').read_text()
    assert cv2.imread(str(tmp_path / 'out/cost.png')) is not None


def test_without_a_checkpoint_there_is_no_score(measure):
    assert [row['miou'] for row in measure('cicld_street', '--steps', '1', checkpoint=False)['steps']] == [None]


def test_a_network_without_diffusion_is_refused(measure):
    with pytest.raises(SystemExit, match='no LatentDiffusionHead with a denoiser'):
        measure('daformer_street', checkpoint=False)
