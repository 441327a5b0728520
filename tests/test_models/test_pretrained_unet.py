"""Denoisers from the folder of a diffusers pipeline: a tiny one is written, and read by the same calls as a published one."""
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from tiny_latent_head import SIZE, UNET, build, features, grad, keyed_losses, samples, segmentor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError

ONE_STEP = dict(training=dict(timesteps='start', noise='zero', denoiser_learns_task=True, noise_loss_weight=0),
                inference=dict(steps=1, noise='zero'), scheduler=dict(
                    type='DDIMScheduler', beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012,
                    prediction_type='v_prediction'))


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pipeline')
    torch.manual_seed(0)
    UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'),
        cross_attention_dim=8, attention_head_dim=2).save_pretrained(folder / 'unet')
    words = {'<|startoftext|>': 0, '<|endoftext|>': 1, 'a</w>': 2}
    (folder / 'vocab.json').write_text(json.dumps(words))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    CLIPTokenizer(str(folder / 'vocab.json'), str(folder / 'merges.txt'), model_max_length=6).save_pretrained(
        folder / 'tokenizer')
    CLIPTextModel(CLIPTextConfig(vocab_size=3, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                 num_attention_heads=2, max_position_embeddings=6, bos_token_id=0,
                                 eos_token_id=1)).save_pretrained(folder / 'text_encoder')
    return folder


def loaded(folder, **changes):
    return build(denoiser=dict(type='UNet2DConditionModel', pretrained=str(folder), subfolder='unet'), **ONE_STEP, **changes)


def test_a_prediction_is_one_step_of_the_pipelines_unet_from_the_last_timestep_with_the_empty_text(pipeline):
    head, (_, _, latent) = loaded(pipeline).eval(), features()
    unet = UNet2DConditionModel.from_pretrained(pipeline / 'unet').eval()
    for parameter in unet.conv_out.parameters():
        parameter.data.mul_(20)  # as the fixture of these tests does it
    tokenizer = CLIPTokenizer.from_pretrained(pipeline / 'tokenizer')
    ids = torch.tensor([[tokenizer.bos_token_id] + [tokenizer.pad_token_id] * 5])
    with torch.no_grad():
        text = CLIPTextModel.from_pretrained(pipeline / 'text_encoder').eval()(ids)[0]
        share = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000)**2, 0)[999]
        noisy = share.sqrt() * latent
        expected = share.sqrt() * noisy - (1 - share).sqrt() * unet(noisy, 999, text.expand(2, -1, -1)).sample
        *_, found = head.trajectory(latent)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_with_the_image_latent_beside_it_equal_halves_give_what_one_gave(pipeline):
    joined, alone = loaded(pipeline, condition='concat').denoiser.eval(), loaded(pipeline).denoiser.eval()
    latent, times = torch.randn(2, 4, 4, 4), torch.tensor([999, 999])
    torch.testing.assert_close(joined(latent, times, latent), alone(latent, times, latent))
    assert joined.unet.config.in_channels == 8


def test_the_task_loss_trains_the_unet_and_not_the_text(pipeline):
    head = loaded(pipeline, condition='concat').train()
    losses = keyed_losses(head, features())
    losses['loss_ce'].backward()
    assert 'loss_noise' not in losses and grad(head.denoiser.unet.down_blocks) > 0 and grad(head.denoiser.unet.conv_in) > 0
    assert 'denoiser.prompt_1MC' in head.state_dict() and 'denoiser.prompt_1MC' not in dict(head.named_parameters())


def test_windows_are_predicted_as_each_is_alone_whatever_the_labels(pipeline):
    network = segmentor(denoiser=dict(type='UNet2DConditionModel', pretrained=str(pipeline), subfolder='unet'), **ONE_STEP)
    network.test_cfg = ConfigDict(mode='slide', crop_size=(SIZE, SIZE), stride=(SIZE, SIZE))
    image, labelled = torch.randn(1, 3, 2 * SIZE, SIZE), [samples(batch=1, value=value) for value in (0, 4)]
    for sample, in labelled:
        sample.set_metainfo(dict(img_shape=(2 * SIZE, SIZE), ori_shape=(2 * SIZE, SIZE)))
    first, second = (network.predict(image, each)[0].seg_logits.data for each in labelled)
    assert torch.equal(first, second)
    for rows in (slice(0, SIZE), slice(SIZE, 2 * SIZE)):
        alone = network.encode_decode(image[:, :, rows], [dict(img_shape=(SIZE, SIZE))])[0]
        torch.testing.assert_close(first[:, rows], alone)


def test_a_unet_alone_without_cross_attention_needs_no_text(tmp_path):
    arguments = {key: value for key, value in UNET.items() if key != 'type'}
    UNet2DModel(in_channels=4, out_channels=4, **arguments).save_pretrained(tmp_path)
    head = build(denoiser=dict(type='UNet2DModel', pretrained=str(tmp_path)), **ONE_STEP)
    assert head.denoiser.prompt_1MC is None and head.eval()(features()).isfinite().all()


def test_what_cannot_be_read_is_one_line(pipeline, tmp_path):
    for folder, message in ((tmp_path / 'none', 'hub name .there is no such folder., cannot be read as a UNet2D'),
                            (tmp_path, 'a folder, cannot be read as a UNet2DConditionModel')):
        with pytest.raises(PretrainedWeightsError, match=message) as error:
            loaded(folder)
        assert len(str(error.value).splitlines()) == 1
    (tmp_path / 'unet').symlink_to(pipeline / 'unet')
    with pytest.raises(PretrainedWeightsError, match='has cross attention, but its tokenizer and text_encoder'):
        loaded(tmp_path)


@pytest.mark.parametrize('changes, message', [
    (dict(denoiser=dict(layers_per_block=1)), 'remove layers_per_block'),
    (dict(in_channels=(6, 5, 3)), 'latents of 4 channels, but the latent has 3: set neck.latent_channels'),
    (dict(condition='mask_attention', mask_encoder=dict(type='ClassEmbeddingMaskEncoder')), 'takes the place of the text')])
def test_what_does_not_fit_is_named(pipeline, changes, message):
    config = dict(type='UNet2DConditionModel', pretrained=str(pipeline), subfolder='unet', **changes.pop('denoiser', {}))
    with pytest.raises(ValueError, match=message):
        build(denoiser=config, **ONE_STEP, **changes)


def test_the_config_of_a_published_pipeline_learns_in_every_part(pipeline):
    arguments = dict(block_out_channels=(8, 8, 16, 16), down_block_types=('DownEncoderBlock2D', ) * 4, norm_num_groups=4,
                     up_block_types=('UpDecoderBlock2D', ) * 4, layers_per_block=1, latent_channels=4)
    AutoencoderKL(**arguments).save_pretrained(pipeline / 'vae')
    file = Path(__file__).parents[2] / 'configs/_base_/models/cicld_pretrained-unet_vae-f8.py'
    model = Config.fromfile(file).model
    model.backbone.update(autoencoder=arguments, pretrained=str(pipeline))
    model.neck.update(in_channels=[16, 16], skip_channels=[8, 8])
    model.decode_head.update(in_channels=[8, 8, 4], decoder_channels=[8, 8])
    model.decode_head.denoiser.pretrained = str(pipeline)
    network = MODELS.build(model)
    network.init_weights()
    vae = AutoencoderKL.from_pretrained(pipeline / 'vae')
    assert torch.equal(network.backbone.conv_in.weight, vae.encoder.conv_in.weight)
    head, images = network.decode_head, torch.randn(1, 3, 64, 64)
    losses, _ = head.training_losses(network.extract_feat(images), torch.zeros(1, 64, 64, dtype=torch.long), None, (1, ))
    losses['loss_ce'].backward()
    assert min(grad(network.backbone), grad(network.neck), grad(head.denoiser), grad(head.decoder)) > 0
    assert network.eval().encode_decode(images, [dict(img_shape=(64, 64))]).shape == (1, 19, 64, 64)
