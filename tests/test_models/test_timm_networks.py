"""Plain vision transformers of timm (EVA-02) through the transformers library; timm needs torchvision, so both are optional."""
import pytest
import torch

from mmseg_cicld.models import TransformersBackbone, ViTAdapterBackbone

EVA = dict(model_type='timm_wrapper', architecture='eva02_tiny_patch14_224', model_args=dict(depth=4))


@pytest.fixture
def timm():
    return pytest.importorskip('timm', reason='timm and torchvision are not installed')


def images(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_maps_of_eva02_are_those_of_timm(timm):
    backbone = TransformersBackbone(EVA, final_norm=False).eval()
    expected = backbone.model.timm_model.forward_intermediates(
        images(56, 84), indices=[0, 1, 2, 3], norm=False, output_fmt='NCHW', intermediates_only=True)
    assert all(torch.equal(own, other) for own, other in zip(backbone(images(56, 84)), expected, strict=True))
    assert [tuple(level.shape[2:]) for level in backbone(images(57, 83))] == [(5, 6)] * 4
    assert (backbone.num_prefix_tokens, backbone.patch_size, len(backbone.blocks)) == (1, 14, 4)


def test_weights_of_a_folder_and_a_file_are_loaded(timm, tmp_path):
    published = TransformersBackbone(EVA).model
    published.save_pretrained(tmp_path)
    for weights in (tmp_path, tmp_path / 'model.safetensors'):
        backbone = TransformersBackbone(EVA, weights=str(weights))
        backbone.init_weights()
        assert all(torch.equal(value, backbone.model.state_dict()[name]) for name, value in published.state_dict().items())


def test_an_adapter_trains_on_eva02(timm):
    network = ViTAdapterBackbone(dict(model=EVA), inplanes=8).train()
    sum(level.square().mean() for level in network(images(61, 75))).backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize('architecture, words', [
    ('resnet18', 'cannot be a backbone'), ('swin_tiny_patch4_window7_224', 'no blocks or stages were found')])
def test_networks_of_timm_that_are_no_plain_transformers_are_refused(timm, architecture, words):
    with pytest.raises(ValueError, match=words):
        TransformersBackbone(dict(model_type='timm_wrapper', architecture=architecture))
    with pytest.raises(ValueError, match='with_cp is True'):
        TransformersBackbone(EVA, with_cp=True)


def test_a_network_that_timm_lacks_or_a_missing_timm_is_named():
    with pytest.raises(ModuleNotFoundError, match='is a timm_wrapper, whose library cannot be imported: .*timm'):
        TransformersBackbone(dict(EVA, architecture='eva02_of_no_kind'))
