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
from mmseg_cicld.engine import AdaptationRunner

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools' / 'analysis_tools'


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the tool on a street config with a checkpoint of random weights, returns its tables."""
    def run(config: str, *arguments: str, checkpoint: bool = True, options: dict | None = None) -> dict:
        render_street_set(tmp_path / 'street', StreetCounts(1, 1, 1, 2), size=(64, 64), report=lambda line: None)
        cfg = Config.fromfile(ROOT / f'configs/street/{config}.py')
        dataset = cfg.test_dataloader.dataset
        dataset.data_root = str(tmp_path / 'street' / Path(dataset.data_root).name)
        cfg.model.segmentor.backbone.init_cfg = None
        cfg.merge_from_dict(options or {})
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
    assert all(0 <= row['mIoU'] <= 100 for row in tables['steps'])
    assert bypassed['memory_mib'] <= one['memory_mib'] == pytest.approx(eight['memory_mib'], rel=0.02)
    assert len(tables['connection']) == 8
    for without, connected in zip(tables['connection'][::2], tables['connection'][1::2]):
        assert (without['connect'], connected['connect']) == (False, True)
        assert without['head_parameters_m'] < connected['head_parameters_m']
        assert without['memory_mib'] < connected['memory_mib']
    assert '| steps | mIoU | latency_ms |' in (tmp_path / 'out/cost.md').read_text()
    assert all(cv2.imread(str(tmp_path / 'out' / name)) is not None for name in ('cost.png', 'connection.png'))


def test_without_a_checkpoint_there_is_no_score(measure):
    row, = measure('cicld_street', '--steps', '1', checkpoint=False)['steps']
    assert set(row) == {'steps', 'latency_ms', 'memory_mib'}


def test_scores_are_those_of_the_evaluator_of_the_config(measure, tmp_path):
    evaluator = dict(_delete_=True, type='SubsetIoUMetric', iou_metrics=['mIoU'], subsets=dict(mIoU2=('road', 'sky')))
    row, = measure('cicld_street', '--steps', '0', options={'test_evaluator': evaluator})['steps']
    cfg = Config.fromfile(tmp_path / 'config.py')
    cfg.merge_from_dict({'model.segmentor.decode_head.inference.steps': 0, 'work_dir': str(tmp_path / 'work'),
                         'load_from': str(tmp_path / 'weights.pth'), 'test_dataloader.num_workers': 0,
                         'test_dataloader.persistent_workers': False})
    scores = AdaptationRunner.from_cfg(cfg).test()
    assert {name: row[name] for name in ('mIoU', 'mIoU2')} == {name: scores[name] for name in ('mIoU', 'mIoU2')}


def test_an_evaluator_without_a_mean_iou_is_named(measure):
    with pytest.raises(SystemExit, match=r"gives no mIoU, but .*'mDice'.*set it to dict\(type='IoUMetric'"):
        measure('cicld_street', '--steps', '0', options={'test_evaluator.iou_metrics': ['mDice']})


LABEL = {f'model.segmentor.decode_head.{key}': value for key, value in {
    'diffused': 'label', 'scheduler.prediction_type': 'v_prediction', 'inference.start': None}.items()}


def test_a_diffused_label_map_is_measured_without_the_bypass(measure, capsys):
    tables = measure('cicld_street', '--steps', '0', '1', '2', checkpoint=False, options=LABEL)
    assert [row['steps'] for row in tables['steps']] == [1, 2]
    assert 'leaves nothing to decode: 0 steps are left out' in capsys.readouterr().out
    assert len(tables['connection']) == 8


def test_a_diffused_label_map_cannot_be_bypassed(measure):
    with pytest.raises(SystemExit, match=r'nothing to decode: --steps is \[0\], give numbers from 1 on'):
        measure('cicld_street', '--steps', '0', checkpoint=False, options=LABEL)


def test_a_network_without_a_denoiser_has_the_row_of_no_steps_and_the_connection(measure, tmp_path, capsys):
    tables = measure('cicld-bypass_street', '--steps', '0', '1', '5')
    assert [row['steps'] for row in tables['steps']] == [0] and 0 <= tables['steps'][0]['mIoU'] <= 100
    assert 'no denoiser (decode_head.denoiser=None)' in capsys.readouterr().out
    assert [row['connect'] for row in tables['connection']] == [False, True] * 4
    assert all((tmp_path / 'out' / name).is_file() for name in ('cost.png', 'connection.png'))


@pytest.mark.parametrize('denoiser', [True, False], ids=['diffusing', 'bypass'])
def test_two_scales(measure, denoiser):
    tables = measure('cicld_street' if denoiser else 'cicld-bypass_street', '--steps', '0', '1', options={
        'model.segmentor': dict(type='HRDAEncoderDecoder', hr_crop_size=(32, 32), scales=(1, 0.5), decode_head=dict(
            type='HRDAHead', single_scale_head='LatentDiffusionHead', attention_embed_dim=16, hr_loss_weight=0.1))})
    assert [row['steps'] for row in tables['steps']] == ([0, 1] if denoiser else [0])
    for without, connected in zip(tables['connection'][::2], tables['connection'][1::2]):
        assert without['head_parameters_m'] < connected['head_parameters_m']


def test_a_network_without_latent_diffusion_is_refused(measure):
    with pytest.raises(SystemExit, match='the config has no LatentDiffusionHead'):
        measure('daformer_street', checkpoint=False)
