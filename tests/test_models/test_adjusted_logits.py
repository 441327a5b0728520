"""Losses of adjusted logits: whatever the head, those of the main prediction alone, and everything else as it was."""
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from mmseg_cicld.models.segmentor_protocol import TrainableSegmentor

CLASSES, SIZE = 4, 32
FCN = dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_convs=1, num_classes=CLASSES, dropout_ratio=0,
           norm_cfg=dict(type='GN', num_groups=2), loss_decode=dict(type='CrossEntropyLoss'))
POINT = dict(type='PointHead', in_channels=[8], in_index=[0], channels=8, num_classes=CLASSES, num_fcs=1,
             coarse_pred_each_layer=True, dropout_ratio=-1, loss_decode=dict(type='CrossEntropyLoss'))


class OneLevel(nn.Conv2d):
    """A backbone of one layer."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (super().forward(images).relu(), )


def network(kind: str) -> TrainableSegmentor:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    if 'OneLevel' not in MODELS:
        MODELS.register_module(module=OneLevel)
    config = dict(type='EncoderDecoder', decode_head=FCN, auxiliary_head=FCN, test_cfg=dict(mode='whole'), train_cfg=dict(),
                  backbone=dict(type='OneLevel', in_channels=3, out_channels=8, kernel_size=3, stride=2, padding=1),
                  data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.] * 3, std=[1.] * 3, size=(SIZE, SIZE)))
    if kind == 'cascade':
        ocr = dict(FCN, type='OCRHead', ocr_channels=4, norm_cfg=dict(type='GN', num_groups=2))
        ocr.pop('num_convs')
        config.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[FCN, ocr])
    elif kind == 'points':
        config.update(type='CascadeEncoderDecoder', num_stages=2, decode_head=[FCN, POINT],
                      train_cfg=dict(num_points=16, oversample_ratio=3, importance_sample_ratio=0.75))
    elif kind == 'two scales':
        config.update(type='HRDAEncoderDecoder', hr_crop_size=(16, 16), decode_head=dict(
            FCN, type='HRDAHead', single_scale_head='FCNHead', hr_loss_weight=0.2))
    return TrainableSegmentor(MODELS.build(config).train())


MAIN = {'plain': 'decode.loss_ce', 'cascade': 'decode_1.loss_ce', 'two scales': 'decode.loss_ce'}


@pytest.mark.parametrize('kind', MAIN)
def test_only_the_losses_of_the_main_prediction_see_adjusted_logits(kind):
    student = network(kind)
    images, labels = torch.randn(2, 3, SIZE, SIZE), torch.randint(0, CLASSES, (2, SIZE, SIZE))
    weights = torch.rand(2, SIZE, SIZE)
    features = [student.encode(view) for view in student.views(images, (0.5, 0.5))]
    seen = []

    def adjust(logits: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return logits - torch.arange(CLASSES)[:, None, None] * 0.3

    plain = student.losses(features, labels, weights, [1, 2])
    output = student.losses(features, labels, weights, [1, 2], adjust)
    (given, ), main = seen, MAIN[kind]
    assert torch.equal(given, plain.logits_BCHW) and torch.equal(output.logits_BCHW, plain.logits_BCHW)
    assert given.requires_grad and given.shape == (2, CLASSES, SIZE, SIZE)
    for name, value in plain.losses.items():
        assert torch.equal(output.losses[name], value) == (name != main), name
    adjusted = given - torch.arange(CLASSES)[:, None, None] * 0.3
    share = 0.8 if kind == 'two scales' else 1
    expected = share * (weights * nn.functional.cross_entropy(adjusted, labels, reduction='none')).mean()
    torch.testing.assert_close(output.losses[main], expected)


def test_who_can_adjust():
    assert all(network(kind).adjusts for kind in MAIN)
    assert not network('points').adjusts
    student = network('plain').module
    student.decode_head.training_losses = lambda inputs, labels, weights, seeds: None
    assert not TrainableSegmentor(student).adjusts
