import copy

import pytest
import torch
from diffusers import AutoencoderKL
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

import mmseg_cicld  # noqa: F401
from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError

TINY = dict(block_out_channels=(8, 16, 24), norm_num_groups=4, layers_per_block=1, latent_channels=4,
            down_block_types=('DownEncoderBlock2D', ) * 3, up_block_types=('UpDecoderBlock2D', ) * 3)
BACKBONE = dict(type='AutoencoderEncoder', autoencoder=TINY)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    AutoencoderKL(**TINY).save_pretrained(tmp_path / 'pipeline' / 'vae')
    return tmp_path / 'pipeline' / 'vae'


def build(**changes):
    backbone = MODELS.build({**copy.deepcopy(BACKBONE), **changes})
    backbone.init_weights()
    return backbone.eval()


def test_gives_a_map_for_each_resolution():
    assert [tuple(level.shape[1:]) for level in build()(torch.randn(2, 3, 32, 32))] == [
        (8, 32, 32), (16, 16, 16), (24, 8, 8)]


def test_last_map_is_what_the_autoencoder_makes_its_latent_of(folder):
    autoencoder, images = AutoencoderKL.from_pretrained(folder).eval(), torch.randn(2, 3, 32, 32)
    last = build(pretrained=str(folder))(images)[-1]
    encoder = autoencoder.encoder
    moments = autoencoder.quant_conv(encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(last))))
    torch.testing.assert_close(moments.chunk(2, 1)[0], autoencoder.encode(images).latent_dist.mean)


def test_levels_are_those_of_the_blocks_with_attention_too():
    kinds = ('DownEncoderBlock2D', 'AttnDownEncoderBlock2D', 'AttnDownEncoderBlock2D')
    backbone, images = build(autoencoder=dict(TINY, down_block_types=kinds)), torch.randn(2, 3, 32, 32)
    _, second, last = backbone(images)
    features = backbone.down_blocks[0](backbone.conv_in(images))
    block = backbone.down_blocks[1]
    torch.testing.assert_close(block.downsamplers[0](second), block(features))
    torch.testing.assert_close(last, backbone.mid_block(backbone.down_blocks[2](block(features))))


@pytest.mark.parametrize('where', ['folder', 'subfolder'])
def test_reads_architecture_and_weights_from_a_folder(folder, where):
    source = dict(autoencoder=str(folder), pretrained=str(folder))
    if where == 'subfolder':
        source = {key: str(folder.parent) for key in source} | dict(subfolder='vae')
    images, reference = torch.randn(1, 3, 32, 32), build(pretrained=str(folder))
    assert all(torch.equal(a, b) for a, b in zip(build(**source)(images), reference(images)))


def test_holds_nothing_that_gets_no_gradient():
    backbone = build()
    sum(level.square().sum() for level in backbone(torch.randn(1, 3, 32, 32))).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_gives_chosen_levels_to_the_neck_and_the_head():
    network = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(BACKBONE, out_indices=(1, 2)),
        neck=dict(type='InterCoderNeck', in_channels=(16, 24), latent_channels=4, latent_index=1, skip_channels=(6, 5)),
        decode_head=dict(type='LatentDiffusionHead', in_channels=(6, 5, 4), decoder_channels=(8, 7), num_classes=5),
        train_cfg=dict(), test_cfg=dict(mode='whole')))
    network.train(False)
    assert network.encode_decode(torch.randn(1, 3, 32, 32), [dict(img_shape=(32, 32))]).shape == (1, 5, 32, 32)


@pytest.mark.parametrize('key', ['autoencoder', 'pretrained'])
def test_a_missing_folder_is_named_with_what_to_set(tmp_path, key, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(PretrainedWeightsError, match=f'backbone.{key}=.*nowhere.*no such folder.*config.json'):
        build(**{key: str(tmp_path / 'nowhere')})


def test_weights_of_another_size_are_refused(folder):
    with pytest.raises(PretrainedWeightsError, match='has weights of other shapes'):
        build(autoencoder=dict(TINY, block_out_channels=(8, 16, 32)), pretrained=str(folder))


@pytest.mark.parametrize('changes, message', [
    (dict(out_indices=(3, )), r'out_indices is \(3,\), but the autoencoder has 3 levels: allowed are 0 to 2'),
    (dict(autoencoder=dict(TINY, channels=3)), "does not fit AutoencoderKL: .*'channels'"),
])
def test_refuses_settings_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
