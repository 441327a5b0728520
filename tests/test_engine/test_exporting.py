"""What a network for prediction keeps of a diffusion head."""
import copy
import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from safetensors.torch import load_file

from mmseg_cicld.engine import CheckpointError
from mmseg_cicld.engine.exporting import (check_weights_fit, plain_config, select_network, without_training_parts,
                                          write_segmentor)

BLOCKS = dict(down_block_types=('DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D'))
UNET = dict(type='UNet2DConditionModel', block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
            mid_block_type='UNetMidBlock2D', **BLOCKS)
MASKED = dict(condition='mask_attention', denoiser=UNET, mask_encoder=dict(type='ClassEmbeddingMaskEncoder'))


def training(scales: int, **head) -> Config:
    base = dict(
        type='LatentDiffusionHead', in_channels=[6, 5, 4], decoder_channels=[8, 7], num_classes=19,
        scheduler=dict(type='DDIMScheduler'), inference=dict(start=249), loss_decode=dict(type='CrossEntropyLoss'))
    head = {**base, **copy.deepcopy(head)}
    segmentor = dict(
        type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole'),
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, size=(64, 64)),
        backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, init_cfg=dict(type='Kaiming')),
        neck=dict(type='InterCoderNeck', in_channels=[8, 16, 32, 64], latent_channels=4, latent_index=1,
                  skip_channels=[6, 5]), decode_head=head)
    if scales == 2:
        segmentor.update(type='HRDAEncoderDecoder', hr_crop_size=(32, 32), decode_head=dict(
            head, type='HRDAHead', single_scale_head='LatentDiffusionHead', hr_loss_weight=0.1, attention_embed_dim=3))
    return Config(dict(model=dict(
        type='ClassMixEMA', segmentor=segmentor, teacher=dict(momentum=0.999), objectives=[
            dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining', threshold=0.968),
            dict(type='LatentDomainAlignment')])))


@pytest.mark.parametrize('scales', [1, 2])
@pytest.mark.parametrize('head, gone', [
    (MASKED, 'mask_encoder'),
    (dict(MASKED, inference=dict(start=249, condition='prediction')), None),
    (dict(MASKED, inference=dict(steps=0)), 'denoiser'),
], ids=['null', 'two_passes', 'bypassed'])
def test_exported_network_predicts_the_same_without_what_it_does_not_need(scales, head, gone):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = training(scales, **head)
    model = MODELS.build(config.model)
    model.train(False)
    plain = plain_config(config)
    whole = select_network(model.state_dict(), 'student', 'a checkpoint')
    state = without_training_parts(whole, plain)
    check_weights_fit(plain, state, 'a checkpoint')
    parts = {part for name in set(whole) - set(state) for part in name.split('.')}
    assert (gone in parts) if gone else not parts
    assert 'discriminator' not in str(list(state)) and plain.custom_imports.imports == ['mmseg_cicld']
    network = MODELS.build(plain.model)
    network.load_state_dict(state)
    network.train(False)
    images, metas = torch.randn(1, 3, 64, 64), [dict(img_shape=(64, 64))]
    with torch.no_grad():
        assert torch.equal(network.encode_decode(images, metas), model.student.encode_decode(images, metas))


def autoencoder_training(folder) -> Config:
    """A training whose encoder is that of the autoencoder in ``folder/vae``."""
    config = training(1)
    config.model.segmentor.backbone = dict(type='AutoencoderEncoder', autoencoder=str(folder), pretrained=str(folder),
                                           subfolder='vae', out_indices=(1, 2))
    config.model.segmentor.neck.in_channels = [16, 24]
    config.model.objectives.pop()  # the alignment, for which this network has no denoiser
    return config


def test_an_exported_autoencoder_needs_the_folder_of_its_architecture_no_more(tmp_path):
    init_default_scope('mmseg')
    AutoencoderKL(
        block_out_channels=(8, 16, 24), norm_num_groups=4, layers_per_block=1, latent_channels=4,
        down_block_types=('DownEncoderBlock2D', ) * 3, up_block_types=('UpDecoderBlock2D', ) * 3,
    ).save_pretrained(tmp_path / 'pipeline/vae')
    config = autoencoder_training(tmp_path / 'pipeline')
    student = MODELS.build(config.model).student.eval()
    plain_config(config).dump(tmp_path / 'plain.py')
    shutil.rmtree(tmp_path / 'pipeline')
    plain = Config.fromfile(tmp_path / 'plain.py')
    check_weights_fit(plain, student.state_dict(), 'a checkpoint')
    network = MODELS.build(plain.model).eval()
    network.load_state_dict(student.state_dict())
    images, metas = torch.randn(1, 3, 64, 64), [dict(img_shape=(64, 64))]
    with torch.no_grad():
        assert torch.equal(network.encode_decode(images, metas), student.encode_decode(images, metas))


def test_a_folder_without_the_architecture_of_the_autoencoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(CheckpointError, match='nowhere: holds no architecture.*set model.segmentor.backbone.autoenc'):
        plain_config(autoencoder_training(tmp_path / 'nowhere'))


def test_tensors_that_share_memory_are_written_whole(tmp_path):
    tied = torch.arange(12.).reshape(3, 4)
    state = dict(embedding=tied, classifier=tied, row=tied[1], turned=tied.T)
    config, pth, safetensors = write_segmentor(tmp_path / 'out', Config(dict(model=dict(type='A'))), state,
                                               dict(classes=('a', 'b'), other=1))
    assert Config.fromfile(config).model.type == 'A'
    content = torch.load(pth, weights_only=True)
    assert content['meta'] == dict(dataset_meta=dict(classes=('a', 'b')))
    for written in (content['state_dict'], load_file(safetensors)):
        assert written.keys() == state.keys() and all(torch.equal(written[name], state[name]) for name in state)
        assert len({value.data_ptr() for value in written.values()}) == len(state)


def test_an_encoder_of_this_package_becomes_that_of_mmseg_with_the_same_features():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = training(1)
    config.model.segmentor.backbone = dict(type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1))
    config.model.segmentor.neck.in_channels = [8, 16, 40, 64]
    config.model.objectives.pop()
    student = MODELS.build(config.model).student.eval()
    plain = plain_config(config)
    network = MODELS.build(plain.model.backbone).eval()
    network.load_state_dict(student.backbone.state_dict())
    assert plain.model.backbone.type == 'MixVisionTransformer'
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(network(images), student.backbone(images), strict=True):
            torch.testing.assert_close(one, other, atol=0.01, rtol=0.01)  # mmseg has other constants in some norms
