"""Two runs of one process, as in a notebook."""
import shutil

import pytest
from toy_training import toy_config

from mmseg_cicld.engine import AdaptationRunner


@pytest.mark.parametrize('visualizer', [
    None, dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')])
def test_each_run_has_its_visualizer(tmp_path, visualizer):
    cfg = toy_config(str(tmp_path / 'first'))
    cfg.visualizer = visualizer
    first = AdaptationRunner.from_cfg(cfg)
    shutil.rmtree(tmp_path / 'first')
    cfg.work_dir = str(tmp_path / 'second')
    second = AdaptationRunner.from_cfg(cfg)
    assert [path.parent.parent.parent for path in tmp_path.rglob('vis_data/config.py')] == [tmp_path / 'second']
    assert first.visualizer is not second.visualizer
    assert second.visualizer is type(second.visualizer).get_current_instance()
    assert second.build_visualizer(visualizer) is not second.visualizer, 'the same name in the same second'
    assert second.build_visualizer(first.visualizer) is first.visualizer
