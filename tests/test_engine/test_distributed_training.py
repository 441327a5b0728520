"""Two processes on the CPU do what one does with their joined batch."""
import os
import subprocess
from pathlib import Path

import preloaded_python
import pytest
import torch
from toy_training import ADDITIONS, TWO_SCALES, assert_same_run, records, toy_config, train, train_in_children

from mmseg_cicld.engine import AdaptationRunner, CheckpointError

HERE = Path(__file__).parent
# Dropout draws for each process on its own; plain SGD makes a weight the sum of its gradients.
COMPARABLE = {
    'model.segmentor.backbone.dropout': 0., 'model.segmentor.decode_head.dropout_ratio': 0., 'val_cfg': None,
    'val_dataloader': None, 'val_evaluator': None, 'optim_wrapper.optimizer': dict(type='SGD', lr=0.5),
    'train_cfg.max_iters': 3, 'param_scheduler': None, 'model.objectives': [
        dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
        dict(type='ClassMixSelfTraining', threshold=0.255)]}


def _final(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'final.rank{rank}', weights_only=True)


HRDA_AND_MIC = TWO_SCALES | {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
    dict(type='ClassMixSelfTraining', threshold=0.255),
    dict(type='MaskedConsistency', block=8, threshold=0.255, own_teacher=dict(momentum=0.5))]}


DIDA = {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
    dict(type='ClassMixSelfTraining', threshold=0.255),
    dict(type='DegradationConsistency', threshold=0.255, weights=(0.5, 0.02))]}


# With batches of one, each process alone has half an image of each domain.
BOTH = {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
    dict(type='ClassMixSelfTraining', threshold=0.255),
    dict(type='MaskedConsistency', block=8, threshold=0.255, images='both')]}


STACKED = {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='OutputSpaceAdversarial', weight=0.1),
    dict(type='ClassMixSelfTraining', threshold=0.255), *ADDITIONS]}


@pytest.mark.parametrize('more', [{}, BOTH, {'optim_wrapper.clip_grad': dict(max_norm=0.3)}, HRDA_AND_MIC, DIDA,
                                  HRDA_AND_MIC | DIDA, STACKED, HRDA_AND_MIC | STACKED])
def test_gradients_are_those_of_the_joined_batch(tmp_path, more):
    one, two = tmp_path / 'one', tmp_path / 'two'
    train(one, batch_size=2, options=COMPARABLE | more)
    assert train_in_children(two, 2, batch_size=1, options=COMPARABLE | more) == [0, 0]
    start = AdaptationRunner.from_cfg(toy_config(str(tmp_path / 'start'), options=COMPARABLE | more)).model.state_dict()
    alone, *ranks = _final(one), _final(two, 0), _final(two, 1)
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')
    moved = [name for name in start if name.endswith(('conv_seg.weight', 'shift_encoder.encoder.backbone.conv.weight'))]
    moved += ['objectives.1.discriminator.0.weight']
    for name in moved:
        assert (alone[name] - start[name]).abs().max() > 1e-4
    for rank, line in enumerate(['source_0.png', 'source_1.png']):
        assert records(two, rank)[0]['files'] == [line]


def test_resume_with_two_processes_is_exact(tmp_path):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    assert train_in_children(straight, 2, batch_size=1) == [0, 0]
    options = {'train_cfg.max_iters': 3}
    assert train_in_children(stopped, 2, batch_size=1, workers=1, options=options) == [0, 0]
    assert train_in_children(stopped, 2, batch_size=1, workers=2, options={'resume': True}) == [0, 0]
    assert_same_run(straight, stopped)
    assert records(straight, 1) == records(stopped, 1)
    # One process with the same total batch continues at the same samples; with another total it is refused.
    for file in (stopped / 'iter_8.pth', stopped / 'last_checkpoint'):
        file.unlink()
    with pytest.raises(CheckpointError, match='2 images an iteration .all processes., now there are 1'):
        train(stopped, batch_size=1, options={'resume': True})
    train(tmp_path / 'joined', batch_size=2, options={'load_from': str(stopped / 'iter_6.pth'), 'resume': True})
    assert records(tmp_path / 'joined')[0]['files'] == [records(straight, rank)[6]['files'][0] for rank in (0, 1)]


def test_accumulation_over_processes_is_the_joined_batch(tmp_path):
    accumulate = {'optim_wrapper.accumulative_counts': 2, 'train_cfg.max_iters': 4,
                  'default_hooks.checkpoint.interval': 2}
    assert train_in_children(tmp_path / 'two', 2, batch_size=1, options=COMPARABLE | accumulate) == [0, 0]
    train(tmp_path / 'one', batch_size=2, options=COMPARABLE | accumulate)
    alone, *ranks = _final(tmp_path / 'one'), _final(tmp_path / 'two', 0), _final(tmp_path / 'two', 1)
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        # Without AVX-512, sums in another order moved a weight by 3.2e-6: gradients of two iterations are added up.
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-5, msg=lambda text: f'{name}: {text}')
    config = toy_config(str(tmp_path / 'start'), options=COMPARABLE | accumulate)
    start = AdaptationRunner.from_cfg(config).model.state_dict()
    for name in (name for name in start if name.endswith('conv.weight') and name.startswith('student.')):
        assert (alone[name] - start[name]).abs().max() > 1e-3, f'{name} moved a hundred times as far as the bound'


def test_sync_batchnorm_on_cpu_is_refused(tmp_path, capfd):
    options = {'model.segmentor.backbone.norm': 'SyncBatchNorm', **COMPARABLE}
    assert train_in_children(tmp_path, 2, batch_size=1, options=options) == [1, 1]
    assert "first: student.backbone.norm), which need GPUs: set norm_cfg.type='BN'" in capfd.readouterr().err


@pytest.mark.parametrize('change, named', [
    ({'model.segmentor.backbone.with_cp': True}, 'with_cp=True (student.backbone)'),
    ({'activation_checkpointing': ['student.backbone']}, "activation_checkpointing=['student.backbone']")])
def test_recomputed_activations_are_refused_by_their_key(tmp_path, capfd, change, named):
    assert train_in_children(tmp_path, 2, batch_size=1, options=COMPARABLE | change) == [1, 1]
    said = capfd.readouterr().err
    assert f'ValueError: {named} recomputes activations' in said and 'ready only once' not in said


def test_missing_torchrun_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE.*torchrun"):
        train(tmp_path, options={'launcher': 'pytorch'})
    with pytest.raises(ValueError, match="launcher='slurm' needs GPUs"):
        train(tmp_path, options={'launcher': 'slurm'})


def test_torchrun_with_the_train_tool_of_mmseg(tmp_path):
    import mmseg
    cfg = toy_config(str(tmp_path / 'run'), batch_size=1, options={'train_cfg.max_iters': 4})
    cfg.custom_imports = dict(imports=['mmseg_cicld', 'toy_training'], allow_failed_imports=False)
    cfg.dump(str(tmp_path / 'config.py'))
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get('PYTHONPATH', '')])
    tool = Path(mmseg.__file__).parent / '.mim' / 'tools' / 'train.py'
    subprocess.run([preloaded_python.python(), '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                    str(tool), str(tmp_path / 'config.py'), '--launcher', 'pytorch'], check=True, cwd=tmp_path, timeout=120,
                   env=dict(os.environ, PYTHONPATH=paths, OMP_NUM_THREADS='1'), capture_output=True)
    assert [line['files'] for rank in (0, 1) for line in records(tmp_path / 'run', rank)[:1]] == [
        ['source_0.png'], ['source_1.png']]
    assert (tmp_path / 'run' / 'iter_4.pth').is_file()


def test_plain_segmentor_trains_in_two_processes(tmp_path):
    """A supervised baseline: an ordinary mmseg segmentor and dataset, whose train_step knows nothing of DDP."""
    segmentor = toy_config(str(tmp_path)).model.segmentor
    options = {'model': dict(_delete_=True, **segmentor),
               'train_dataloader.dataset': dict(_delete_=True, type='ToyLabelled')}
    assert train_in_children(tmp_path, 2, batch_size=1, options=options) == [0, 0]
    ranks = _final(tmp_path, 0), _final(tmp_path, 1)
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])
