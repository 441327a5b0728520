"""Pre-training of the autoencoder: its losses against direct formulas, what reaches what, and exact resume."""
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_engine'))

from toy_training import assert_same_run, toy_config, train, train_in_child, train_in_children

from mmseg_cicld.finite_losses import NonFiniteLossError
from mmseg_cicld.models.autoencoder import AutoencoderPretraining
from mmseg_cicld.models.autoencoder.pretraining import build_autoencoder

TINY = dict(block_out_channels=(8, 8), down_block_types=('DownEncoderBlock2D', ) * 2,
            up_block_types=('UpDecoderBlock2D', ) * 2, latent_channels=3, norm_num_groups=4,
            mid_block_add_attention=False)
NETWORK = dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, num_stages=2, out_indices=(0, 1),
               dilations=(1, 1), strides=(1, 2), norm_cfg=dict(type='BN'))
MODEL = dict(type='AutoencoderPretraining', autoencoder=TINY,
             data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True,
                                    size=(32, 32)),
             perceptual=dict(weight=0.5, network=NETWORK), adversary=dict(weight=0.2, channels=4, layers=2))


def build(**changes) -> AutoencoderPretraining:
    torch.manual_seed(0)
    return MODELS.build(dict(MODEL, **changes)).double().train()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def batches() -> dict:
    sample = SegDataSample(metainfo=dict(img_path='x.png', img_shape=(32, 32), ori_shape=(32, 32)))
    return {domain: dict(inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)], data_samples=[sample.clone()])
            for domain in ('source', 'target')}


def test_losses_are_those_of_the_formulas():
    model, inputs = build(kl_weight=0.1), images()
    losses = model(inputs, [5, 6], mode='loss')
    moments = model.autoencoder.encode(inputs).latent_dist.parameters
    mean, log_variance = moments.chunk(2, dim=1)
    noise = torch.stack([torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    made = model.autoencoder.decode(mean + (log_variance / 2).exp() * noise).sample
    expected = dict(
        loss_pixels=(made - inputs).abs().mean(),
        loss_kl=0.1 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / 2 / (3 * 16 * 16),
        loss_adversary=-0.2 * model.adversary.scores(made).mean(),
        loss_discriminator=0.5 * ((1 - model.adversary.scores(inputs)).clamp(min=0).mean()
                                  + (1 + model.adversary.scores(made)).clamp(min=0).mean()))
    distance = 0
    imagenet = [torch.tensor(v, dtype=torch.float64)[None, :, None, None]
                for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])]
    for one, other in zip(*(model.perceptual.network((x * 127.5 + 127.5 - imagenet[0]) / imagenet[1])
                            for x in (inputs, made))):
        one, other = (f / f.norm(dim=1, keepdim=True) for f in (one, other))
        distance += (one - other).square().sum(dim=1).mean() / 2
    expected['loss_perceptual'] = 0.5 * distance
    assert set(losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_each_loss_reaches_its_own_side():
    model = build()
    losses = model(images(), [5, 6], mode='loss')
    critic, coder = model.adversary, model.autoencoder
    sides = dict(loss_discriminator=(critic, coder), loss_adversary=(coder, critic), loss_perceptual=(coder, critic))
    for name, (own, other) in sides.items():
        for side, reached in ((own, True), (other, False)):
            gradients = torch.autograd.grad(losses[name], list(side.parameters()), allow_unused=True, retain_graph=True)
            assert any(g is not None and float(g.abs().max()) > 0 for g in gradients) == reached, name
    assert not any(parameter.requires_grad for parameter in model.perceptual.parameters())
    assert not model.perceptual.network.training


def test_the_adversary_waits_for_its_start():
    model = build(adversary=dict(start=1, channels=4, layers=2))
    model = model.float()
    step = OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01))
    logs = [model.train_step(batches(), step) for _ in range(2)]
    assert ['loss_adversary' in log for log in logs] == [False, True]


def test_it_learns_to_reconstruct():
    model = build(perceptual=None, adversary=None)
    inputs = images()[:, :, ::4, ::4].repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    step = torch.optim.Adam(model.parameters(), lr=5e-3)
    pixels = []
    for _ in range(80):
        step.zero_grad()
        losses = model(inputs, [1, 2], mode='loss')
        sum(losses.values()).backward()
        step.step()
        pixels.append(float(losses['loss_pixels'].detach()))
    assert pixels[-1] < 0.7 * pixels[0]


def pretraining_config(work_dir: str, options: dict | None = None, **kwargs) -> Config:
    options = {'model': dict(MODEL, _delete_=True), 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None,
               **(options or {})}
    return toy_config(work_dir, options=options, **kwargs)


def test_resumes_exactly_after_a_kill(tmp_path):
    train(tmp_path / 'straight', pretraining_config, max_iters=4, save_interval=2)
    kill = {'custom_hooks.0.signal_at': 4}
    assert train_in_child(tmp_path / 'killed', make_config=pretraining_config, max_iters=4, save_interval=2,
                          options=kill) == -signal.SIGKILL
    train(tmp_path / 'killed', pretraining_config, max_iters=4, save_interval=2, options={'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'killed', last=4)


def test_two_processes_are_one_with_the_joined_batch(tmp_path):
    # Plain SGD makes a weight the sum of its gradients.
    plain = {'optim_wrapper.optimizer': dict(type='SGD', lr=0.05), 'param_scheduler': None}
    train(tmp_path / 'one', pretraining_config, max_iters=2, batch_size=2, options=plain)
    assert train_in_children(tmp_path / 'two', 2, make_config=pretraining_config, max_iters=2, batch_size=1,
                             options=plain) == [0, 0]
    one, two = (torch.load(tmp_path / name / 'final.rank0', weights_only=True) for name in ('one', 'two'))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')


def test_goes_on_with_a_saved_autoencoder(tmp_path):
    saved = build_autoencoder(TINY)
    saved.save_pretrained(tmp_path / 'saved')
    loaded = build_autoencoder(dict(pretrained=str(tmp_path / 'saved')))
    assert all(torch.equal(one, other) for one, other in zip(saved.state_dict().values(), loaded.state_dict().values()))
    with pytest.raises(ValueError, match="cannot be read .*give a folder made by save_pretrained"):
        build_autoencoder(dict(pretrained=str(tmp_path / 'nothing')))
    with pytest.raises(ValueError, match=r"and \['latent_channels'\]: the folder holds its architecture"):
        build_autoencoder(dict(pretrained=str(tmp_path / 'saved'), latent_channels=3))


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = build(perceptual=None, adversary=None).float()
    with torch.no_grad():
        model.autoencoder.decoder.conv_out.bias.fill_(torch.nan)
    before = [parameter.clone() for parameter in model.autoencoder.encoder.parameters()]
    with pytest.raises(NonFiniteLossError, match=r'iteration 1: loss=nan, loss_pixels=nan.*Nothing was updated.*x\.png, x\.png'):
        model.train_step(batches(), OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0)))
    assert all(torch.equal(one, other) for one, other in zip(before, model.autoencoder.encoder.parameters()))


def test_missing_normalisation_is_named():
    with pytest.raises(ValueError, match='has no mean and std'):
        build(data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)))
