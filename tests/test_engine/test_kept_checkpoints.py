"""How many checkpoints stay, which of them, and what is said of state that they do not hold for all processes."""
import re

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.registry import MODELS
from toy_training import train, train_in_children

from mmseg_cicld.engine import read_checkpoint
from mmseg_cicld.uda.objectives import SourceSupervision

QUIET = {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}


def kept(folder) -> list[int]:
    return sorted(int(re.search(r'iter_(\d+)', path.name)[1]) for path in folder.glob('iter_*.pth'))


@pytest.mark.parametrize('keep', [1, 3, 5])
def test_exactly_so_many_checkpoints_stay_also_after_resumes(tmp_path, keep):
    for last in (4, 5, 8):
        train(tmp_path, max_iters=10, save_interval=1, options=QUIET | {
            'default_hooks.checkpoint.max_keep_ckpts': keep, 'train_cfg.max_iters': last, 'resume': True})
        assert kept(tmp_path) == list(range(max(last - keep, 0) + 1, last + 1))
        saved = read_checkpoint(tmp_path / f'iter_{last}.pth')['message_hub']['runtime_info']['keep_ckpt_ids']
        assert sorted(set(saved)) == saved


def test_numbers_that_an_older_version_has_saved_twice_count_once(tmp_path):
    options = QUIET | {'default_hooks.checkpoint.max_keep_ckpts': 3, 'train_cfg.max_iters': 3}
    train(tmp_path, save_interval=1, options=options)
    checkpoint = torch.load(tmp_path / 'iter_3.pth', weights_only=True)
    checkpoint['message_hub']['runtime_info']['keep_ckpt_ids'] = [1, 1, 2, 3]
    torch.save(checkpoint, tmp_path / 'iter_3.pth')
    train(tmp_path, save_interval=1, options=options | {'resume': True})
    assert kept(tmp_path) == [1, 2, 3]


@HOOKS.register_module()
class Rising(Hook):
    """Replaces the score of a validation by the iteration's number, so that each is the best."""

    priority = 'HIGHEST'

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        metrics['aAcc'] = float(runner.iter)


def test_best_checkpoints_take_no_place_of_ordinary_ones(tmp_path):
    """Validations after even iterations, ordinary checkpoints after 3 and 6; both after the last of each run."""
    options = {'default_hooks.checkpoint.save_best': 'aAcc', 'default_hooks.checkpoint.max_keep_ckpts': 2,
               'custom_hooks': [dict(type='Rising')]}
    for last, ordinary in ((5, [3, 5]), (7, [6, 7]), (8, [7, 8])):
        train(tmp_path, val_interval=2, options=options | {'train_cfg.max_iters': last, 'resume': True})
        assert kept(tmp_path) == ordinary
        assert [path.name for path in tmp_path.glob('best_*')] == [f'best_aAcc_iter_{last}.pth']
    assert read_checkpoint(tmp_path / 'iter_8.pth')['message_hub']['runtime_info']['best_score'] == 8


@pytest.mark.parametrize('hook, iteration', [
    (dict(type='EarlyStoppingHook', monitor='mIoU', patience=1, min_delta=100), 4), (dict(type='StopAt'), 5)])
def test_a_training_that_a_hook_stops_leaves_a_checkpoint(tmp_path, hook, iteration):
    @HOOKS.register_module(force=True)
    class StopAt(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.train_loop.stop_training |= runner.iter + 1 == 5

    train(tmp_path, val_interval=2, save_interval=100, options={'custom_hooks': [hook]})
    assert kept(tmp_path) == [iteration]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / f'iter_{iteration}.pth')


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / '.iter_3.pth.77.tmp').touch()
    train(tmp_path, max_iters=1, options=QUIET)
    assert not list(tmp_path.glob('.*'))


def test_buffers_may_be_infinite_by_design(tmp_path):
    @MODELS.register_module(force=True)
    class MaskedSource(SourceSupervision):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            self.register_buffer('mask', torch.tensor([0., -torch.inf]))

    options = QUIET | {'model.objectives': [dict(type='MaskedSource')], 'model.teacher': None}
    train(tmp_path, max_iters=1, options=options)
    assert read_checkpoint(tmp_path / 'iter_1.pth')['state_dict']['objectives.0.mask'][1] == -torch.inf


def test_state_that_processes_do_not_share_is_named_once(tmp_path, capfd):
    @MODELS.register_module(force=True)
    class CountingSource(SourceSupervision):
        """Has one state of each process, and one that is the same on all."""

        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            self.register_buffer('images', torch.zeros(2))
            self.register_buffer('iterations', torch.zeros(()))
            self.norm = torch.nn.BatchNorm1d(2)

        def forward(self, *args):
            self.images += get_rank()
            self.iterations += 1
            self.norm(torch.randn(4, 2) + get_rank())
            return super().forward(*args)

    options = QUIET | {'model.objectives': [dict(type='CountingSource', name='counting')], 'model.teacher': None}
    assert train_in_children(tmp_path, 2, batch_size=1, save_interval=1, max_iters=3, options=options) == [0, 0]
    said = [line for line in capfd.readouterr().out.splitlines() if 'is not the same on all processes' in line]
    assert len(said) == 1 and 'counting: images (objective: key)' in said[0] and 'resume will not be exact' in said[0]
