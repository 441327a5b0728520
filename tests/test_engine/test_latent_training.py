"""Training with a latent diffusion head and its alignment: exact resume, and two processes that do what one does."""
import signal

import pytest
import torch
from toy_training import assert_same_run, records, train, train_in_child, train_in_children

UNET = dict(type='UNet2DModel', block_out_channels=(4, 8), norm_num_groups=2, layers_per_block=1, add_attention=False,
            down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))
ALIGN = dict(type='LatentDomainAlignment', weight=1.0, noise_weight=1.0, adversary=dict(block_channels=(8, )),
             contrastive=dict(temperature=0.5, min_ratio=0.0), mmd=dict(pixels=16))
DIFFUSING = {
    'model.segmentor.neck': dict(type='InterCoderNeck', in_channels=(8, ), latent_channels=3, latent_index=0,
                                 skip_channels=(4, ), norm_cfg=dict(type='GN', num_groups=2)),
    'model.segmentor.decode_head': dict(
        _delete_=True, type='LatentDiffusionHead', in_channels=(4, 3), decoder_channels=(6, ), num_classes=4,
        dropout_ratio=0.1, denoiser=UNET, scheduler=dict(type='DDIMScheduler', prediction_type='v_prediction'),
        norm_cfg=dict(type='GN', num_groups=2), loss_decode=dict(type='CrossEntropyLoss'))}
JOINT = DIFFUSING | {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255), ALIGN]}
ENCODER = DIFFUSING | {'model.objectives': [
    dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255),
    dict(ALIGN, encoder_gradient=True, input='latent')]}
STAGE_TWO = DIFFUSING | {
    'model.train_only': ['decode_head.denoiser'],
    'model.objectives': [dict(ALIGN, source=None, mixed=None, mixing=dict(threshold=0.255))]}
ONE_STEP = dict(timesteps='start', noise='zero', noise_loss_weight=0.0)


def _one_step(training: dict, objectives: list[dict], **head) -> dict:
    own = dict(DIFFUSING['model.segmentor.decode_head'], training=dict(ONE_STEP, **training),
               inference=dict(noise='zero', start=249), **head)
    return DIFFUSING | {'model.segmentor.decode_head': own, 'model.objectives': [
        dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255), *objectives]}


SHIFT = dict(type='LatentRestoration', degradation=dict(type='MaskDegradation', block=8), threshold=0.255)
# The denoiser with both of its tasks, the one that fills hidden places, and the one of label maps.
RESTORED = _one_step(dict(denoiser_learns_task=True), [SHIFT, dict(SHIFT, task='reconstruction', name='second')],
                     denoiser=dict(UNET, num_class_embeds=2))
HIDDEN = _one_step(dict(decoder_input='latent', prediction_steps=0), [
    dict(type='MaskedRepresentationModeling', rebuilder='denoiser', cell=8, threshold=0.255)])
SPREAD = DIFFUSING | {
    'model.segmentor.decode_head': dict(DIFFUSING['model.segmentor.decode_head'], diffused='label', condition='concat',
                                        training=dict(class_codes='spread', correction=0.5)),
    'model.objectives': [dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.255)]}
# Dropout draws for each process on its own; plain SGD makes a weight the sum of its gradients.
COMPARABLE = {
    'model.segmentor.backbone.dropout': 0., 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None,
    'optim_wrapper.optimizer': dict(type='SGD', lr=0.05), 'param_scheduler': None}


def without_dropout(options: dict) -> dict:
    head = dict(options['model.segmentor.decode_head'], dropout_ratio=0.)
    return options | COMPARABLE | {'model.segmentor.decode_head': head}


@pytest.mark.parametrize('options, logged', [
    (JOINT, 'align.loss_mmd'), (STAGE_TWO, 'align.loss_mmd'), (RESTORED, 'second.target.loss_latent'),
    (HIDDEN, 'rebuilt.decode.loss_ce'), (SPREAD, 'mix.decode.loss_noise')],
    ids=['joint', 'stage_two', 'restored', 'hidden', 'spread'])
def test_resume_after_kill_is_exact(tmp_path, options, logged):
    sizes = dict(max_iters=4, save_interval=2, val_interval=4)
    train(tmp_path / 'straight', options=options, **sizes)
    kill = options | {'custom_hooks.0.signal_at': 4}
    assert train_in_child(tmp_path / 'killed', options=kill, **sizes) == -signal.SIGKILL
    train(tmp_path / 'killed', options=options | {'resume': True}, **sizes)
    assert_same_run(tmp_path / 'straight', tmp_path / 'killed', last=4)
    assert logged in records(tmp_path / 'killed')[3]


def test_restoring_in_mixed_precision_is_about_that_in_full(tmp_path):
    half = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    for name, options in dict(half=RESTORED | half, full=RESTORED).items():
        train(tmp_path / name, options=options, max_iters=1, val_interval=4)
    half, full = (records(tmp_path / name)[0] for name in ('half', 'full'))
    for name in ('restored.source.loss_latent', 'second.target.loss_latent', 'restored.target.decode.loss_ce'):
        assert float.fromhex(half[name]) == pytest.approx(float.fromhex(full[name]), rel=0.1, abs=0.01), name


def test_mixed_precision_and_accumulation(tmp_path):
    more = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16',
            'optim_wrapper.accumulative_counts': 2}
    train(tmp_path / 'half', options=JOINT | more, max_iters=4, save_interval=2, val_interval=4)
    train(tmp_path / 'full', options=JOINT, max_iters=1, val_interval=4)
    half, full = (records(tmp_path / name)[0] for name in ('half', 'full'))
    for name in ('align.loss_mmd', 'align.loss_contrastive', 'align.loss_noise', 'align.loss_discriminator'):
        assert float.fromhex(half[name]) == pytest.approx(float.fromhex(full[name]), rel=0.1, abs=0.01), name


ALIGNED = ('align.loss_mmd', 'align.loss_contrastive', 'align.loss_noise', 'align.loss_discriminator')


@pytest.mark.parametrize('options, compared', [
    (JOINT, ALIGNED), (ENCODER, ALIGNED), (STAGE_TWO, ALIGNED),
    (RESTORED, ('restored.source.loss_latent', 'second.target.loss_latent')), (HIDDEN, ('rebuilt.decode.loss_ce', )),
    (SPREAD, ('source.decode.loss_noise', ))], ids=['joint', 'encoder', 'stage_two', 'restored', 'hidden', 'spread'])
def test_two_processes_are_one_with_the_joined_batch(tmp_path, options, compared):
    options = without_dropout(options)
    train(tmp_path / 'one', batch_size=2, max_iters=2, options=options)
    assert train_in_children(tmp_path / 'two', 2, batch_size=1, max_iters=2, options=options) == [0, 0]
    one, *two = (torch.load(tmp_path / name, weights_only=True)
                 for name in ('one/final.rank0', 'two/final.rank0', 'two/final.rank1'))
    for name, value in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(two[0][name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')
    logged = records(tmp_path / 'one')[0], *(records(tmp_path / 'two', rank)[0] for rank in (0, 1))
    for name in compared:
        joined, *parts = (float.fromhex(line[name]) for line in logged)
        # MMD is a small difference of means near one: exact to a unit in their last place.
        absolute = torch.finfo(torch.float32).eps if name == 'align.loss_mmd' else None
        assert sum(parts) / 2 == pytest.approx(joined, rel=1e-4, abs=absolute), name
