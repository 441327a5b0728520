"""Whole segmentors of mmseg, head by head: the losses that their own ``loss`` gives, cascades too."""
import copy
import warnings

import pytest
import torch
from head_cases import BN, CE, GENERATE, OHEM, TRAIN_CFG, UPDATE
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import nn

from mmseg_cicld.models.edge_labels import edges
from mmseg_cicld.models.head_checks import check_head
from mmseg_cicld.models.head_losses import head_losses, raw_logits

SIZE, CLASSES = 64, 4
RESNET = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, dilations=(1, 1, 1, 1),
              strides=(1, 2, 2, 2), norm_cfg=BN)
FCN = dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=CLASSES, norm_cfg=BN,
           loss_decode=CE)
OCR = dict(FCN, type='OCRHead', ocr_channels=8)
OCR.pop('num_convs')
POINT = dict(type='PointHead', in_channels=[8], in_index=[0], channels=8, num_fcs=1, num_classes=CLASSES,
             dropout_ratio=-1, loss_decode=CE)
STDC = dict(FCN, type='STDCHead', in_channels=8, in_index=0, num_classes=2, boundary_threshold=.1, loss_decode=[
    dict(CE, use_sigmoid=True), dict(type='DiceLoss')])
DA = dict(FCN, type='DAHead', in_channels=32, in_index=2, pam_channels=4)
DA.pop('num_convs')
SEGMENTORS = {
    'auxiliary heads': dict(decode_head=dict(FCN, loss_decode=[CE, dict(type='LovaszLoss', reduction='none')]),
                            auxiliary_head=[STDC, DA]),
    'OCRNet': dict(type='CascadeEncoderDecoder', num_stages=2, decode_head=[FCN, OCR], auxiliary_head=DA),
    'PointRend': dict(type='CascadeEncoderDecoder', num_stages=2, decode_head=[FCN, POINT]),
    'K-Net': dict(decode_head=dict(type='IterativeDecodeHead', num_stages=1, kernel_update_head=[UPDATE],
                                   kernel_generate_head=dict(GENERATE, in_channels=64)), auxiliary_head=FCN),
    'PIDNet': dict(backbone=dict(type='PIDNet', channels=4, ppm_channels=4, num_stem_blocks=1, num_branch_blocks=1,
                                 norm_cfg=BN),
                   decode_head=dict(type='PIDHead', in_channels=16, channels=8, num_classes=CLASSES, norm_cfg=BN,
                                    loss_decode=[CE, OHEM, dict(type='BoundaryLoss'), OHEM])),
    'DDRNet': dict(backbone=dict(type='DDRNet', channels=4, ppm_channels=4, norm_cfg=BN),
                   decode_head=dict(type='DDRHead', in_channels=16, channels=8, num_classes=CLASSES, norm_cfg=BN,
                                    loss_decode=[OHEM, OHEM])),
}


def build(name):
    torch.manual_seed(0)
    config = dict(type='EncoderDecoder', backbone=RESNET, train_cfg=TRAIN_CFG, test_cfg=dict(mode='whole'))
    config = copy.deepcopy(config | SEGMENTORS[name])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MODELS.build(ConfigDict(config)).train()


def heads(segmentor, key):
    found = getattr(segmentor, key, None)
    return list(found) if isinstance(found, nn.ModuleList) else [] if found is None else [found]


def by_heads(segmentor, images_BCHW, labels_BHW, weights_BHW):
    features, losses, prev_logits = segmentor.extract_feat(images_BCHW), {}, None
    stages = heads(segmentor, 'decode_head')
    for stage, head in enumerate(stages):
        if stage:
            # mmseg runs each head once for its losses and once for the next one.
            prev_logits = raw_logits(stages[stage - 1], features, prev_logits)
        own, _ = head_losses(head, features, labels_BHW, weights_BHW, prev_logits, segmentor.train_cfg)
        losses.update(add_prefix(own, f'decode_{stage}' if len(stages) > 1 else 'decode'))
    for position, head in enumerate(heads(segmentor, 'auxiliary_head')):
        own, _ = head_losses(head, features, labels_BHW, weights_BHW)
        several = isinstance(segmentor.auxiliary_head, nn.ModuleList)
        losses.update(add_prefix(own, f'aux_{position}' if several else 'aux'))
    return losses


@pytest.mark.parametrize('name', SEGMENTORS)
def test_head_by_head_the_losses_are_those_of_the_segmentor(name):
    segmentor, draw = build(name), torch.Generator().manual_seed(1)
    images_BCHW = torch.randn(2, 3, SIZE, SIZE, generator=draw)
    labels_BHW = torch.randint(0, CLASSES, (2, 8, 8), generator=draw).repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels_BHW[:, :9, :9] = 255
    for key in ('decode_head', 'auxiliary_head'):
        for head in heads(segmentor, key):
            check_head(head, f'model.segmentor.{key}')
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label_HW[None]), gt_edge_map=PixelData(data=edge_HW[None]))
               for label_HW, edge_HW in zip(labels_BHW, edges(labels_BHW, 255))]
    torch.manual_seed(2)
    expected = copy.deepcopy(segmentor).loss(images_BCHW, samples)
    for weights_BHW in (None, torch.ones(2, SIZE, SIZE)):
        torch.manual_seed(2)
        found = by_heads(copy.deepcopy(segmentor), images_BCHW, labels_BHW, weights_BHW)
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    nothing = by_heads(segmentor, images_BCHW, labels_BHW, torch.zeros(2, SIZE, SIZE))
    assert all(not value.any() for key, value in nothing.items() if 'loss' in key)
