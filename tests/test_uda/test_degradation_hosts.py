"""Degradation consistency on every method and segmentor, and what an export leaves of it."""
import importlib.util

import pytest
import torch
import torch.nn.functional as F
from degraded_training import DEGRADED, MASKED, MIX, SOURCE, VARIANTS, build, step
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_cicld.engine.exporting import plain_config, select_network

HOSTS = dict(
    dacs=[SOURCE, MIX],
    daformer=[dict(SOURCE, feature_distance=dict(weight=0.005, min_ratio=0.25)), MIX],
    mic=[SOURCE, MIX, MASKED],
    advseg=[SOURCE, dict(type='OutputSpaceAdversarial')],
    minent=[SOURCE, dict(type='EntropyMinimisation')])


@pytest.mark.parametrize('host', HOSTS)
def test_goes_on_top_of_every_method(segmentor, batch, host):
    log = step(build(segmentor(), [*HOSTS[host], DEGRADED]), batch())
    for domain in ('source', 'target'):
        assert float(log[f'degraded.{domain}.decode.loss_ce']) > 0
        assert float(log[f'degraded.{domain}.loss_reconstruction']) > 0
    losses = [float(value) for name, value in log.items() if 'loss' in name and name != 'loss']
    assert float(log['loss']) == pytest.approx(sum(losses))


def has_timm() -> bool:
    """Whether timm can be imported, for which it needs torchvision."""
    return importlib.util.find_spec('timm') is not None and importlib.util.find_spec('torchvision') is not None


@pytest.mark.parametrize('name', [
    'segformer', 'deeplabv3plus', 'upernet', 'auxiliary', 'vit',
    pytest.param('timm_vit', marks=pytest.mark.skipif(not has_timm(), reason='needs timm and torchvision'))])
@pytest.mark.parametrize('variant', VARIANTS[1::3] + VARIANTS[2:3])
def test_fits_every_segmentor(segmentor, batch, name, variant):
    shift_encoder, reconstruction = variant
    log = step(build(segmentor(name), [SOURCE, MIX, dict(
        DEGRADED, shift_encoder=shift_encoder, reconstruction=reconstruction)]), batch())
    assert all(torch.isfinite(value) for value in log.values())


def test_both_scales_are_degraded_compensated_and_reconstructed(hrda, batch):
    model = build(hrda, [SOURCE, MIX, DEGRADED])
    encoder, seen, passes = model.objectives[-1].shift_encoder, [], []
    encoder.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.student.backbone.register_forward_pre_hook(lambda module, args: passes.append(args[0]))
    log = step(model, batch())
    assert 'degraded.source.decode.hr.loss_ce' in log
    student = [view for view in passes[-4:]]  # context and detail of source, then of target
    assert len(seen) == 4 and all(torch.equal(one, other) for one, other in zip(seen, student))
    degraded = model.forwards['degraded.target'][0]
    torch.testing.assert_close(seen[2], F.interpolate(degraded, scale_factor=0.5, mode='bilinear'))
    assert any(torch.equal(seen[3], degraded[:, :, y:y + 32, x:x + 32])
               for y in range(0, 33, 8) for x in range(0, 33, 8))


@pytest.mark.parametrize('variant', [('shared', 'shared_head'), ('separate', 'own_head')])
def test_goes_on_a_latent_diffusion_network(segmentor, batch, variant):
    network = segmentor()
    network['neck'] = dict(type='InterCoderNeck', in_channels=[8, 16, 32, 64], latent_channels=4, latent_index=1,
                           skip_channels=[6, 5])
    network['decode_head'] = dict(
        type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=19, dropout_ratio=0,
        scheduler=dict(type='DDIMScheduler'), loss_decode=dict(type='CrossEntropyLoss'), denoiser=dict(
            type='UNet2DModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
            down_block_types=('DownBlock2D', ) * 2, up_block_types=('UpBlock2D', ) * 2, add_attention=False))
    options = dict(DEGRADED, shift_encoder=variant[0], reconstruction=variant[1])
    log = step(build(network, [SOURCE, MIX, options]), batch())
    assert {'degraded.source.decode.loss_noise', 'degraded.target.loss_reconstruction'} <= set(log)


@pytest.mark.parametrize('shift_encoder, reconstruction', VARIANTS)
def test_export_leaves_everything_behind_and_predicts_bitwise_the_same(segmentor, batch, shift_encoder, reconstruction):
    options = dict(DEGRADED, shift_encoder=shift_encoder, reconstruction=reconstruction)
    model = build(segmentor(), [SOURCE, MIX, options])
    for _ in range(2):
        step(model, batch())
    config = plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=segmentor()))))
    exported = MODELS.build(config.model)
    state = select_network(model.state_dict(), 'student', 'a checkpoint')
    assert not any('objectives' in name or 'shift' in name for name in state)
    exported.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))


def test_export_of_two_scales_predicts_bitwise_the_same(hrda, batch):
    model = build(hrda, [SOURCE, MIX, DEGRADED])
    step(model, batch())
    exported = MODELS.build(plain_config(Config(dict(model=dict(type='ClassMixEMA', segmentor=hrda)))).model)
    exported.load_state_dict(select_network(model.state_dict(), 'student', 'a checkpoint'), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(exported.eval()(images), model.student.eval()(images))
