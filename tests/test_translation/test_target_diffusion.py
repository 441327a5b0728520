"""Training of the target diffusion model: its loss, its average, exact resume, two processes, mixed precision."""
import signal
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMPipeline
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_datasets import write_folder
from tiny_diffusion import AUTOENCODER, UNET, tiny_diffusion
from toy_training import assert_same_run, records, toy_config, train, train_in_child, train_in_children

from mmseg_cicld.datasets import DrawKey
from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.finite_losses import NonFiniteLossError
from mmseg_cicld.translation import ImageDiffusion, TargetDiffusion, image_grid, sample_images
from mmseg_cicld.translation.hooks import save_folder_whole

MODEL = dict(type='TargetDiffusion', image_size=(8, 16), unet=UNET, momentum=0.9,
             scheduler=dict(type='DDIMScheduler', num_train_timesteps=20, beta_start=0.01, beta_end=0.6))
PIPELINE = [dict(type='LoadImageStrictly'), dict(type='RandomCrop', crop_size=(8, 16)),
            dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]
PREDICTIONS = [dict(type='DDPMScheduler', prediction_type='epsilon'),
               dict(type='DDPMScheduler', prediction_type='sample'),
               dict(type='DDIMScheduler', prediction_type='v_prediction', rescale_betas_zero_snr=True),
               dict(type='FlowMatchEulerDiscreteScheduler')]


def build(**changes) -> TargetDiffusion:
    torch.manual_seed(0)
    return MODELS.build(dict(MODEL, **changes)).train()


def batch(count: int = 2, size: tuple[int, int] = (8, 16)) -> dict:
    images = torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    samples = [SegDataSample(metainfo=dict(img_path=f'{i}.png')) for i in range(count)]
    return dict(target=dict(inputs=list(images), data_samples=samples))


def sgd(model: TargetDiffusion, lr: float = 0.1, **kwargs) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(model.unet.parameters(), lr=lr), **kwargs)


@pytest.mark.parametrize('scheduler', PREDICTIONS, ids=lambda s: s.get('prediction_type', 'flow'))
def test_loss_is_that_of_the_formula(scheduler):
    model = build(scheduler=scheduler)
    images = torch.rand(2, 3, 8, 16) * 2 - 1
    loss = model(images, [5, 6])['loss_noise']
    errors = []
    for image, seed in zip(images, (5, 6)):
        generator = torch.Generator().manual_seed(seed)
        step, noise = torch.randint(1000, (), generator=generator), torch.randn(3, 8, 16, generator=generator)
        if scheduler['type'].startswith('Flow'):
            signal_share, noise_share = 1 - (step + 1) / 1000, (step + 1) / 1000
            target, time = noise - image, (step + 1).float()
        else:
            share = model.diffusion.scheduler().alphas_cumprod[step]
            signal_share, noise_share, time = share.sqrt(), (1 - share).sqrt(), step
            target = dict(epsilon=noise, sample=image, v_prediction=signal_share * noise - noise_share * image)[
                scheduler['prediction_type']]
        noisy = signal_share * image + noise_share * noise
        errors.append(F.mse_loss(model.unet(noisy[None], time).sample[0], target))
    torch.testing.assert_close(loss, sum(errors) / 2, rtol=1e-4, atol=1e-6)


def test_images_are_rgb_between_minus_one_and_one():
    model, data = build(), batch()
    images = model._images(data)
    torch.testing.assert_close(images[1], data['target']['inputs'][1].flip(0) / 127.5 - 1)


def test_average_follows_the_weights_after_each_update():
    model = build(momentum=0.3)
    step, name = sgd(model, accumulative_counts=2), 'conv_in.weight'
    step.initialize_count_status(model, 0, 8)
    weights, averages = [], []
    for _ in range(6):
        model.train_step(batch(), step)
        weights.append(model.unet.get_parameter(name).clone())
        averages.append(model.diffusion.unet.get_parameter(name).clone())
    assert torch.equal(weights[0], averages[0]) and not torch.equal(weights[1], weights[0])
    expected = averages[0]
    for now, factor in ((1, 2 / 11), (3, 0.3), (5, 0.3)):  # (1 + t) / (10 + t) where that is below the momentum
        expected = factor * expected + (1 - factor) * weights[now]
        torch.testing.assert_close(averages[now], expected)


def test_learns_one_image_and_samples_it():
    model = build(scheduler=dict(MODEL['scheduler'], prediction_type='sample'))
    image = torch.zeros(1, 3, 8, 16)
    image[:, :, :, 8:], image[:, 1] = 0.8, -0.5
    step = torch.optim.Adam(model.unet.parameters(), lr=1e-2)
    for iteration in range(60):
        step.zero_grad()
        model(image.expand(4, -1, -1, -1), range(4 * iteration, 4 * iteration + 4))['loss_noise'].backward()
        step.step()
        model._average()
        model._iteration += 1
    samples = sample_images(model.diffusion, 2, (8, 16), steps=10)
    assert float((samples - image).abs().mean()) < 0.15
    torch.testing.assert_close(sample_images(model.diffusion, 1, (8, 16), steps=10)[0], samples[0])


@pytest.mark.parametrize('scheduler', PREDICTIONS, ids=lambda s: s.get('prediction_type', 'flow'))
@pytest.mark.parametrize('latent', [False, True], ids=['pixels', 'latents'])
def test_all_schedulers_sample(scheduler, latent):
    model = build(scheduler=scheduler, autoencoder=AUTOENCODER if latent else None)
    images = sample_images(model.diffusion, 3, (8, 16), steps=2)
    assert images.shape == (3, 3, 8, 16) and torch.isfinite(images).all() and float(images.abs().max()) <= 1
    grid = image_grid(images, columns=2)
    assert grid.shape == (16, 32, 3) and grid.dtype == torch.uint8
    torch.testing.assert_close(grid[8:, :16] / 127.5 - 1, images[2].permute(1, 2, 0), rtol=0, atol=1 / 127)
    assert not grid[8:, 16:].any()


def test_latents_of_a_frozen_autoencoder(tmp_path):
    tiny_diffusion(latent=True).autoencoder.save_pretrained(tmp_path / 'vae')
    model = build(autoencoder=str(tmp_path / 'vae'))
    before = {name: value.clone() for name, value in model.diffusion.autoencoder.state_dict().items()}
    model.train_step(batch(), sgd(model))
    assert not model.diffusion.autoencoder.training and not model.diffusion.unet.training and model.unet.training
    for name, value in model.diffusion.autoencoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.unet.config.in_channels == 4 and tuple(model.unet.config.sample_size) == (4, 8)


def training_config(work_dir: str, options: dict | None = None, **kwargs) -> Config:
    data = write_folder(Path(work_dir).parent / 'images', 5, labelled=False)
    target = dict(type='FolderDataset', data_root=str(data), pipeline=PIPELINE, serialize_data=False)
    options = {'model': dict(MODEL, _delete_=True), 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None,
               'train_dataloader.dataset': dict(_delete_=True, type='UnlabelledDataset', target=target),
               'label_audit': dict(max_files=2), **(options or {})}
    return toy_config(work_dir, options=options, **kwargs)


SHORT = dict(make_config=training_config, max_iters=4, save_interval=2)


def test_trains_on_images_alone_and_leaves_samples_and_a_folder(tmp_path):
    hooks = [dict(type='Recorder', file=str(tmp_path / 'run/record.jsonl')),
             dict(type='SampleGridHook', interval=2, samples=3, columns=2, steps=2), dict(type='SaveFolderHook')]
    runner = train(tmp_path / 'run', **SHORT, options={'custom_hooks': hooks})
    pictures = sorted((tmp_path / 'run').rglob('vis_image/samples_*.png'))
    assert [path.name for path in pictures] == ['samples_2.png', 'samples_4.png']
    assert cv2.imread(str(pictures[0])).shape == (16, 32, 3)
    saved = ImageDiffusion.from_folder(tmp_path / 'run/diffusion')
    for name, value in runner.model.diffusion.unet.state_dict().items():
        assert torch.equal(saved.unet.state_dict()[name], value), name
    assert not torch.equal(saved.unet.conv_in.weight, runner.model.unet.conv_in.weight)
    pipeline = DDIMPipeline.from_pretrained(tmp_path / 'run/diffusion')
    assert pipeline(num_inference_steps=2, output_type='np').images.shape == (1, 8, 16, 3)


def test_latent_diffusion_goes_on_from_an_autoencoder_that_saw_no_label(tmp_path):
    preprocessor = dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True, size=(8, 16))
    autoencoder = dict(_delete_=True, type='AutoencoderPretraining', autoencoder=AUTOENCODER,
                       data_preprocessor=preprocessor)
    hooks = [dict(type='Recorder', file=str(tmp_path / 'one/record.jsonl')), dict(type='SaveAutoencoderHook', images=4)]
    train(tmp_path / 'one', **SHORT, options={'model': autoencoder, 'custom_hooks': hooks})
    runner = train(tmp_path / 'two', **SHORT, options={'model.autoencoder': str(tmp_path / 'one/autoencoder')})
    dataset = runner.train_dataloader.dataset
    batch = pseudo_collate([dataset[DrawKey(3, position)] for position in range(4)])
    latents = runner.model.diffusion.encode(runner.model._images(batch))
    assert float(latents.std()) == pytest.approx(1, abs=1e-3)


def test_a_stopped_training_leaves_no_folder(tmp_path):
    hooks = [dict(type='Recorder', file=str(tmp_path / 'run/record.jsonl'), signal_at=2, signum=signal.SIGTERM),
             dict(type='SaveFolderHook')]
    with pytest.raises(SystemExit):
        train(tmp_path / 'run', **SHORT, options={'custom_hooks': hooks})
    assert not (tmp_path / 'run/diffusion').exists()


@pytest.mark.parametrize('more', [{}, {'model.autoencoder': AUTOENCODER}], ids=['pixels', 'latents'])
def test_resumes_exactly_after_a_kill(tmp_path, more):
    train(tmp_path / 'straight', **SHORT, options=more)
    kill = more | {'custom_hooks.0.signal_at': 4}
    assert train_in_child(tmp_path / 'killed', **SHORT, workers=1, options=kill) == -signal.SIGKILL
    train(tmp_path / 'killed', **SHORT, options=more | {'resume': True})
    assert_same_run(tmp_path / 'straight', tmp_path / 'killed', last=4)
    assert len({line['loss_noise'] for line in records(tmp_path / 'killed')}) == 4


def test_two_processes_are_one_with_the_joined_batch(tmp_path):
    # Plain SGD makes a weight the sum of its gradients.
    plain = {'optim_wrapper.optimizer': dict(type='SGD', lr=0.05), 'param_scheduler': None}
    train(tmp_path / 'one', **SHORT, batch_size=2, options=plain)
    assert train_in_children(tmp_path / 'two', 2, **SHORT, batch_size=1, options=plain) == [0, 0]
    one, two = (torch.load(tmp_path / name / 'final.rank0', weights_only=True) for name in ('one', 'two'))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=2e-6, msg=lambda text: f'{name}: {text}')


def test_mixed_precision_keeps_weights_in_float32(tmp_path):
    half = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    runner = train(tmp_path / 'half', **SHORT, options=half)
    train(tmp_path / 'full', **SHORT)
    losses = [[float.fromhex(line['loss_noise']) for line in records(tmp_path / name)] for name in ('half', 'full')]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)
    assert {value.dtype for value in runner.model.diffusion.state_dict().values()} == {torch.float32}


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = build()
    with torch.no_grad():
        model.unet.conv_out.bias.fill_(torch.nan)
    before = model.unet.conv_in.weight.clone()
    with pytest.raises(NonFiniteLossError, match=r'iteration 1: .*Nothing was updated.*0.png, 1.png'):
        model.train_step(batch(), sgd(model))
    assert torch.equal(before, model.unet.conv_in.weight)


@pytest.mark.parametrize('changes, message', [
    (dict(image_size=(9, 16)), 'have 9 x 16 pixels .*multiples of 2: change model.image_size and the RandomCrop'),
    (dict(momentum=1.0), r'model.momentum is 1.0, allowed are values in \[0, 1\)'),
    (dict(unet=dict(UNET, layers=2)), "model.unet: UNet2DModel refuses .*'layers'"),
    (dict(unet=dict(UNET, in_channels=4)), 'Its channels and sample_size follow from the images'),
    (dict(unet=dict(UNET, block_out_channels=(8, ))), 'model.unet: UNet2DModel refuses'),
    (dict(scheduler=dict(type='Nothing')), "model.scheduler.type is 'Nothing'"),
    (dict(scheduler=dict(type='DDIMScheduler', rescale_betas_zero_snr=True)),
     'the last timestep of model.scheduler holds no signal'),
    (dict(autoencoder='./nowhere/vae'), "the autoencoder './nowhere/vae' cannot be read"),
], ids=str)
def test_refuses_settings_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_refuses_batches_that_do_not_fit():
    model = build()
    with pytest.raises(ValueError, match=r'0.png has 8 x 12 pixels .* but model.image_size is \(8, 16\)'):
        model.train_step(batch(size=(8, 12)), sgd(model))
    with pytest.raises(ValueError, match="under the key 'target': use train_dataloader.dataset=dict.type='Unlabelled"):
        model.train_step(dict(source=batch()['target']), sgd(model))


def test_grid_hook_refuses_what_draws_nothing(tmp_path):
    hooks = [dict(type='SampleGridHook', steps=0)]
    with pytest.raises(ValueError, match='SampleGridHook: steps=0'):
        train(tmp_path / 'run', **SHORT, options={'custom_hooks': hooks})


def test_folder_is_replaced_whole(tmp_path):
    model = build()
    save_folder_whole(model.save_folder, tmp_path / 'diffusion')
    with torch.no_grad():
        model.diffusion.unet.conv_in.weight.add_(1)
    save_folder_whole(model.save_folder, tmp_path / 'diffusion')
    saved = ImageDiffusion.from_folder(tmp_path / 'diffusion')
    assert torch.equal(saved.unet.conv_in.weight, model.diffusion.unet.conv_in.weight)
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(CheckpointError, match='file/diffusion: cannot be written .*: make room or set another'):
        save_folder_whole(model.save_folder, tmp_path / 'file/diffusion')
