"""The method that docs/add_a_method.md writes trains, resumes exactly, and does in two processes what one does."""
import re
import sys
from pathlib import Path

import pytest
import torch

from mmseg_cicld.engine import read_checkpoint

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_engine'))
from toy_training import assert_same_run, train, train_in_children

PAGE = Path(__file__).parents[2] / 'docs' / 'add_a_method.md'
CODE = re.findall(r'```python\n(.*?)```', PAGE.read_text(), flags=re.DOTALL)[0]
OBJECTIVES = {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255),
    dict(type='PrototypeContrast', channels=8, threshold=0.255,
         augmentation=dict(type='NoiseAugmentation', strength=0.2))]}
# As in test_distributed_training.py: no dropout, and plain SGD, so that weights compare.
COMPARABLE = OBJECTIVES | {
    'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0., 'val_cfg': None,
    'val_dataloader': None, 'val_evaluator': None, 'optim_wrapper.optimizer': dict(type='SGD', lr=0.5),
    'train_cfg.max_iters': 3, 'param_scheduler': None}


@pytest.fixture(scope='module', autouse=True)
def method():
    """Runs the page's first block of code, once, which registers the method."""
    exec(compile(CODE, str(PAGE), 'exec'), {'__name__': 'prototypes'})


def test_it_trains_and_a_resumed_run_is_the_same(tmp_path):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    train(straight, options=OBJECTIVES)
    train(stopped, options=OBJECTIVES | {'train_cfg.max_iters': 3})
    train(stopped, options=OBJECTIVES | {'resume': True})
    assert_same_run(straight, stopped)
    bank = read_checkpoint(straight / 'iter_8.pth')['state_dict']['objectives.2.bank_KC']
    assert bank.shape == (4, 8) and (bank.abs().sum(dim=1) > 0).any()


def test_two_processes_do_what_one_does(tmp_path):
    train(tmp_path / 'one', batch_size=2, options=COMPARABLE)
    assert train_in_children(tmp_path / 'two', 2, batch_size=1, options=COMPARABLE) == [0, 0]
    alone, *ranks = (torch.load(tmp_path / name, weights_only=True)
                     for name in ('one/final.rank0', 'two/final.rank0', 'two/final.rank1'))
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')
