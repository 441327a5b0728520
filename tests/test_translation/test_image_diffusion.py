"""A diffusion model goes to a folder that diffusers reads, and comes back."""
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, LDMPipeline, UNet2DConditionModel, UNet2DModel
from tiny_diffusion import AUTOENCODER, UNET, tiny_diffusion

from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError
from mmseg_cicld.translation import ImageDiffusion

PIXELS_AND_LATENTS = pytest.mark.parametrize('latent', [False, True], ids=['pixels', 'latents'])


@PIXELS_AND_LATENTS
def test_comes_back_from_its_folder(tmp_path, latent):
    model = tiny_diffusion(latent, num_train_timesteps=50, prediction_type='v_prediction')
    model.save_folder(tmp_path / 'saved')
    loaded = ImageDiffusion.from_folder(str(tmp_path / 'saved'))
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    scheduler = loaded.scheduler()
    assert isinstance(scheduler, DDPMScheduler)
    assert (scheduler.config.num_train_timesteps, scheduler.config.prediction_type) == (50, 'v_prediction')


def test_diffusers_reads_the_folder(tmp_path):
    tiny_diffusion().save_folder(tmp_path / 'pixels')
    pixels = DDPMPipeline.from_pretrained(tmp_path / 'pixels')
    pixels.unet.register_to_config(sample_size=8)
    assert pixels(num_inference_steps=2, output_type='np').images.shape == (1, 8, 8, 3)
    tiny_diffusion(latent=True).save_folder(tmp_path / 'latents')
    latents = LDMPipeline.from_pretrained(tmp_path / 'latents')
    latents.unet.register_to_config(sample_size=4)
    assert latents(num_inference_steps=2, output_type='np').images.shape == (1, 8, 8, 3)


def test_reads_what_diffusers_writes(tmp_path):
    model = tiny_diffusion(latent=True)
    DDIMPipeline(tiny_diffusion().unet, DDPMScheduler()).save_pretrained(tmp_path / 'ddim')
    assert ImageDiffusion.from_folder(tmp_path / 'ddim').scheduler_config['_class_name'] == 'DDIMScheduler'
    for part, folder in ((model.unet, 'unet'), (model.scheduler(), 'scheduler'), (model.autoencoder, 'vae')):
        part.save_pretrained(tmp_path / 'parts' / folder)
    assert ImageDiffusion.from_folder(tmp_path / 'parts').stride == 2


def test_latents_are_scaled_and_come_back():
    model, images = tiny_diffusion(latent=True), torch.rand(2, 3, 8, 8) * 2 - 1
    model.autoencoder.register_to_config(shift_factor=0.25)
    latents = model.encode(images)
    mean = model.autoencoder.encode(images).latent_dist.mean
    torch.testing.assert_close(latents, (mean - 0.25) * AUTOENCODER['scaling_factor'])
    torch.testing.assert_close(model.decode(latents), model.autoencoder.decode(mean).sample)
    latents = latents.detach().requires_grad_()
    model.decode(latents).sum().backward()
    assert float(latents.grad.abs().sum()) > 0


def test_pixels_stay_as_they_are():
    model, images = tiny_diffusion(), torch.rand(1, 3, 6, 8)
    assert model.encode(images) is images and model.decode(images) is images


@pytest.mark.parametrize('latent, multiple', [(False, 2), (True, 4)], ids=['pixels', 'latents'])
def test_sizes_have_to_divide(latent, multiple):
    model = tiny_diffusion(latent)
    assert (model.stride, model.size_multiple) == (multiple // 2, multiple)
    model.check_size(multiple * 3, multiple)
    with pytest.raises(ValueError, match=f'have 8 x {multiple + 1} pixels .*multiples of {multiple}: change the Resize '
                                         'of source.pipeline, or set tile'):
        model.check_size(8, multiple + 1)


def test_each_level_of_the_network_halves_the_size():
    levels = dict(block_out_channels=(8, ) * 4, down_block_types=('DownBlock2D', ) * 4, up_block_types=('UpBlock2D', ) * 4)
    unet = UNet2DModel(in_channels=3, out_channels=3, **{**UNET, **levels})
    assert ImageDiffusion(unet, tiny_diffusion().scheduler_config, None).size_multiple == 8


def test_refuses_channels_that_do_not_fit():
    learned_variance = UNet2DModel(in_channels=3, out_channels=6, **UNET)
    with pytest.raises(ValueError, match='takes 3 channels and gives 6, but images have 3.*learned variance'):
        ImageDiffusion(learned_variance, {})
    with pytest.raises(ValueError, match='takes 3 channels and gives 3, but latents of the autoencoder have 4'):
        ImageDiffusion(tiny_diffusion().unet, {}, tiny_diffusion(latent=True).autoencoder)


def test_says_what_is_wrong_with_a_folder(tmp_path):
    model = tiny_diffusion()
    with pytest.raises(PretrainedWeightsError, match='neither a folder nor a model on the hub .*WORK_DIR/diffusion'):
        ImageDiffusion.from_folder(str(tmp_path / 'nothing'))
    with pytest.raises(PretrainedWeightsError, match='unet cannot be read: .*A diffusion model is a folder with unet'):
        ImageDiffusion.from_folder(tmp_path)
    model.unet.save_pretrained(tmp_path / 'unet')
    with pytest.raises(PretrainedWeightsError, match='scheduler cannot be read'):
        ImageDiffusion.from_folder(tmp_path)
    model.save_folder(tmp_path / 'damaged')
    (tmp_path / 'damaged/unet/diffusion_pytorch_model.safetensors').write_bytes(b'damaged')
    with pytest.raises(PretrainedWeightsError, match='unet cannot be read'):
        ImageDiffusion.from_folder(tmp_path / 'damaged')
    UNet2DConditionModel(block_out_channels=(8, ), norm_num_groups=4, down_block_types=('DownBlock2D', ),
                         up_block_types=('UpBlock2D', ), mid_block_type=None).save_pretrained(tmp_path / 'text/unet')
    with pytest.raises(PretrainedWeightsError, match='it is a UNet2DConditionModel, allowed is UNet2DModel'):
        ImageDiffusion.from_folder(tmp_path / 'text')
