"""Heads of mmseg and of this package on backbones of the transformers library: training, export, predictions."""
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_transformers import CONVNEXT, DINOV2, DINOV3, REGISTERS, tiny_network

from mmseg_cicld.engine.exporting import check_weights_fit, plain_config, select_network, without_training_parts

PYRAMID = dict(type='SimpleFeaturePyramid', in_channels=32, out_channels=16)
CHANNELS, INDEX = [16] * 4, [0, 1, 2, 3]
HEADS = dict(
    daformer=dict(type='DAFormerHead', channels=16, in_channels=CHANNELS, in_index=INDEX, decoder_params=dict(
        embed_dims=16, embed_cfg=dict(type='mlp'), fusion_cfg=dict(
            type='conv', kernel_size=1, act_cfg=dict(type='ReLU'), norm_cfg=dict(type='BN')))),
    segformer=dict(type='SegformerHead', channels=16, in_channels=CHANNELS, in_index=INDEX),
    upernet=dict(type='UPerHead', channels=16, in_channels=CHANNELS, in_index=INDEX, pool_scales=(1, 2)),
    fpn=dict(type='FPNHead', channels=16, in_channels=CHANNELS, in_index=INDEX, feature_strides=[4, 8, 16, 32]),
    upscale=dict(type='UpscaleHead', in_channels=CHANNELS))
CASES = {
    'daformer-dinov2': (dict(type='TransformersBackbone', model=DINOV2, scale=14 / 16), PYRAMID, HEADS['daformer']),
    'segformer-registers': (dict(type='TransformersBackbone', model=REGISTERS), PYRAMID, HEADS['segformer']),
    'upernet-dinov3': (dict(type='TransformersBackbone', model=DINOV3), dict(PYRAMID, in_index=INDEX), HEADS['upernet']),
    'fpn-dinov3': (dict(type='TransformersBackbone', model=DINOV3), PYRAMID, HEADS['fpn']),
    'upscale-adapter': (dict(type='ViTAdapterBackbone', vit=dict(model=DINOV2), inplanes=8, head_channels=16), None,
                        dict(HEADS['upscale'], in_channels=[32] * 4)),
    'segformer-convnext': (dict(type='TransformersBackbone', model=CONVNEXT), None,
                           dict(HEADS['segformer'], in_channels=[8, 16, 24, 32]))}


def training(name: str) -> Config:
    backbone, neck, head = CASES[name]
    segmentor = dict(
        type='EncoderDecoder', backbone=backbone, train_cfg=dict(), test_cfg=dict(mode='whole'),
        decode_head=dict(num_classes=5, loss_decode=dict(type='CrossEntropyLoss'), **head),
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                               bgr_to_rgb=True, size=(64, 64), seg_pad_val=255))
    if neck is not None:
        segmentor['neck'] = neck
    return Config(dict(model=dict(type='ClassMixEMA', segmentor=segmentor, teacher=dict(momentum=0.999),
                                  objectives=[dict(type='SourceSupervision'),
                                              dict(type='ClassMixSelfTraining', threshold=0.968)])))


def batch(labelled: bool) -> dict:
    generator = torch.Generator().manual_seed(int(labelled))
    samples = [SegDataSample(metainfo=dict(img_path='x', sample_index=index)) for index in range(2)]
    for sample in samples if labelled else ():
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, 64, 64), generator=generator))
    images = [torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('name', CASES)
def test_a_step_trains_all_that_learns_and_the_export_predicts_the_same(name):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = training(name)
    model = MODELS.build(config.model)
    model.init_weights()
    before = {key: value.clone() for key, value in model.student.named_parameters()}
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='AdamW', lr=1e-3)))
    for _ in range(3):  # an injector's offsets learn once its gamma is not 0, its norm once the offsets are not even
        log = model.train().train_step(dict(source=batch(True), target=batch(False)), wrapper)
    assert torch.as_tensor(log['loss']).isfinite()
    still = {key for key, value in model.student.named_parameters() if torch.equal(value, before[key])}
    frozen = {key for key, value in model.student.named_parameters() if not value.requires_grad}
    assert still == frozen

    plain = plain_config(config)
    state = without_training_parts(select_network(model.state_dict(), 'student', 'a checkpoint'), plain)
    network = check_weights_fit(plain, state, 'a checkpoint').eval()
    images, metas = torch.randn(1, 3, 50, 71), [dict(img_shape=(50, 71))]
    with torch.no_grad():
        assert torch.equal(network.encode_decode(images, metas), model.eval().student.encode_decode(images, metas))


def test_an_export_needs_the_folder_of_architecture_and_weights_no_more(tmp_path):
    init_default_scope('mmseg')
    tiny_network(REGISTERS).save_pretrained(tmp_path / 'weights')
    config = training('segformer-registers')
    config.model.segmentor.backbone.update(model=str(tmp_path / 'weights'), sha256='0' * 8)
    adapted = training('upscale-adapter')
    adapted.model.segmentor.backbone.vit.update(weights='facebook/dinov2-base', sha256='0' * 8)
    plain = plain_config(config).model.backbone
    assert plain.weights is None and plain.model.model_type == 'dinov2_with_registers' and 'sha256' not in plain
    (tmp_path / 'weights').rename(tmp_path / 'elsewhere')
    assert len(MODELS.build(plain).state_dict()) == len(MODELS.build(config.model.segmentor.backbone | dict(
        model=str(tmp_path / 'elsewhere'), sha256=None)).state_dict())
    vit = plain_config(adapted).model.backbone.vit
    assert vit.weights is None and 'sha256' not in vit and vit.model.model_type == 'dinov2'
