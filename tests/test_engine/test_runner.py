"""Two runs of one process, as in a notebook."""
import shutil

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from toy_training import toy_config, train

from mmseg_cicld.engine import AdaptationRunner, read_checkpoint


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


def test_a_checkpoint_that_a_hook_of_others_writes_counts_the_iteration_that_has_ended(tmp_path):
    @HOOKS.register_module(force=True)
    class Saving(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.save_checkpoint(str(tmp_path), f'own_{runner.iter + 1}.pth', by_epoch=False)

    train(tmp_path / 'run', max_iters=2, options={'custom_hooks': [dict(type='Saving')]})
    for done in (1, 2):
        meta = read_checkpoint(tmp_path / f'own_{done}.pth')['meta']
        assert (meta['epoch'], meta['iter']) == (0, done)
