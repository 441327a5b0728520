"""A tiny form of every decode head that mmseg 1.2.2 and this package register, with features that it takes.

Shape suffixes: B images, H and W label height and width.
"""
import copy
import warnings
from dataclasses import dataclass, field

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CLASSES, SIZE, IGNORE = 4, 32, 255
CHANNELS, SIDES = (4, 6, 8, 8), (16, 8, 4, 4)
LAST = dict(in_channels=8, in_index=3)
LEVELS = dict(in_channels=list(CHANNELS), in_index=[0, 1, 2, 3])
BN, CE = dict(type='BN'), dict(type='CrossEntropyLoss')
OHEM = dict(type='OhemCrossEntropy', min_kept=200)
TRAIN_CFG = ConfigDict(num_points=16, oversample_ratio=3, importance_sample_ratio=.75)


@dataclass
class HeadCase:
    """How a head is built and fed: its own settings, and the channels and sides of features if not the common ones."""

    settings: dict
    channels: tuple = CHANNELS
    sides: tuple = SIDES
    cascade: bool = False
    with_class_token: bool = False
    base: dict = field(default_factory=lambda: dict(channels=8, num_classes=CLASSES, norm_cfg=BN, dropout_ratio=0.1))


UPDATE = dict(
    type='KernelUpdateHead', num_classes=CLASSES, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1, feedforward_channels=8,
    in_channels=8, out_channels=8, dropout=0., conv_kernel_size=1, ffn_act_cfg=dict(type='ReLU', inplace=True),
    with_ffn=True, feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
    kernel_updator_cfg=dict(type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8,
                            act_cfg=dict(type='ReLU', inplace=True), norm_cfg=dict(type='LN')))
GENERATE = dict(type='FCNHead', num_convs=1, channels=8, num_classes=CLASSES, norm_cfg=BN, loss_decode=CE, **LAST)

CASES = {
    'ANNHead': HeadCase(dict(in_channels=[8, 8], in_index=[2, 3], project_channels=4, query_scales=(1, ),
                             key_pool_scales=(1, 2))),
    'APCHead': HeadCase(dict(LAST, pool_scales=(1, 2))),
    'ASPPHead': HeadCase(dict(LAST, dilations=(1, 2))),
    'CCHead': HeadCase(dict(LAST, recurrence=2)),
    'DAFormerHead': HeadCase(dict(LEVELS, decoder_params=dict(
        embed_dims=8, embed_cfg=dict(type='mlp'),
        fusion_cfg=dict(type='conv', kernel_size=1, norm_cfg=BN, act_cfg=dict(type='ReLU'))))),
    'DAHead': HeadCase(dict(LAST, pam_channels=4)),
    'DDRHead': HeadCase(dict(in_channels=8, loss_decode=[dict(OHEM), dict(OHEM, loss_weight=.4)]), (4, 8), (8, 4)),
    'DLV2Head': HeadCase(dict(LAST, dilations=(1, 2)), base=dict(num_classes=CLASSES)),
    'DMHead': HeadCase(dict(LAST, filter_sizes=(1, 3))),
    'DNLHead': HeadCase(dict(LAST, reduction=2)),
    'DPTHead': HeadCase(dict(in_channels=[8] * 4, in_index=[0, 1, 2, 3], input_transform='multiple_select',
                             embed_dims=8, post_process_channels=[8] * 4), (8, ) * 4, (4, ) * 4, with_class_token=True),
    'DepthwiseSeparableASPPHead': HeadCase(dict(LAST, c1_in_channels=4, c1_channels=4, dilations=(1, 2))),
    'DepthwiseSeparableFCNHead': HeadCase(dict(LAST, dw_act_cfg=None)),
    'EMAHead': HeadCase(dict(LAST, ema_channels=8, num_bases=4, num_stages=2)),
    'EncHead': HeadCase(dict(in_channels=[8, 8], in_index=[2, 3], num_codes=4)),
    'FCNHead': HeadCase(dict(LAST, num_convs=1)),
    'FPNHead': HeadCase(dict(LEVELS, feature_strides=(2, 4, 8, 8))),
    'GCHead': HeadCase(dict(LAST, ratio=.5, pooling_type='att', fusion_types=('channel_add', ))),
    'ISAHead': HeadCase(dict(LAST, isa_channels=4, down_factor=(2, 2))),
    'IterativeDecodeHead': HeadCase(dict(num_stages=2, kernel_update_head=[UPDATE, UPDATE],
                                         kernel_generate_head=GENERATE), base={}),
    'LRASPPHead': HeadCase(dict(in_channels=(4, 6, 8), in_index=(0, 1, 2), input_transform='multiple_select',
                                branch_channels=(4, 4)), sides=(52, 52, 50, 50)),
    'LightHamHead': HeadCase(dict(in_channels=[6, 8, 8], in_index=[1, 2, 3], ham_channels=8, ham_kwargs=dict(
        MD_S=1, MD_R=4, train_steps=2, eval_steps=2, inv_t=100, rand_init=True))),
    'NLHead': HeadCase(dict(LAST, reduction=2)),
    'OCRHead': HeadCase(dict(LAST, ocr_channels=4), cascade=True),
    'PIDHead': HeadCase(dict(in_channels=8, loss_decode=[CE, OHEM, dict(type='BoundaryLoss', loss_weight=20.), OHEM]),
                        (4, 8, 4), (8, 8, 8)),
    'PSAHead': HeadCase(dict(LAST, mask_size=(4, 4), compact=True, shrink_factor=1)),
    'PSPHead': HeadCase(dict(LAST, pool_scales=(1, 2))),
    'PointHead': HeadCase(dict(in_channels=[4], in_index=[0], num_fcs=1), cascade=True,
                          base=dict(channels=8, num_classes=CLASSES, dropout_ratio=-1)),
    'SETRMLAHead': HeadCase(dict(in_channels=[8] * 4, in_index=[0, 1, 2, 3], mla_channels=2, up_scale=4), (8, ) * 4,
                            (4, ) * 4),
    'SETRUPHead': HeadCase(dict(LAST, norm_cfg=dict(type='SyncBN'), num_convs=1, up_scale=2)),
    'STDCHead': HeadCase(dict(in_channels=4, in_index=0, num_convs=1, boundary_threshold=.1, num_classes=2,
                              loss_decode=[dict(CE, use_sigmoid=True), dict(type='DiceLoss')])),
    'SegformerHead': HeadCase(LEVELS), 'LevelwiseSegformerHead': HeadCase(LEVELS),
    'SegmenterMaskTransformerHead': HeadCase(dict(in_channels=8, in_index=3, num_layers=1, num_heads=2, embed_dims=8,
                                                  norm_cfg=dict(type='LN'))),
    'UPerHead': HeadCase(dict(LEVELS, pool_scales=(1, 2))),
    'UpscaleHead': HeadCase(dict(LEVELS, in_channels=[4, 6, 8, 16]), (4, 6, 8, 16), (16, 8, 4, 2),
                            base=dict(num_classes=CLASSES, norm_cfg=BN)),
}
"""By registered name; heads that are refused, and this package's that carry losses of their own, are in neither."""


def build(name: str, **changes) -> torch.nn.Module:
    """Builds a head in training mode, the same each time."""
    case = CASES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        config = copy.deepcopy(dict(case.base, type=name) | case.settings | changes)
        head = MODELS.build(config).train()
    if name == 'PIDHead':
        head.d_cls_seg.weight.data *= 100  # sure of edges, which one of its losses is about
    return head


def features(name: str) -> tuple:
    """Makes the features that a head takes, with gradient."""
    case, draw = CASES[name], torch.Generator().manual_seed(1)
    maps = [torch.randn(2, channels, side, side, generator=draw, requires_grad=True)
            for channels, side in zip(case.channels, case.sides)]
    if case.with_class_token:
        return tuple([level, torch.randn(2, level.shape[1], generator=draw)] for level in maps)
    return tuple(maps)


def previous_logits(name: str) -> torch.Tensor | None:
    """Makes the logits of the head before one in a cascade, with gradient."""
    draw = torch.Generator().manual_seed(2)
    return torch.randn(2, CLASSES, 4, 4, generator=draw, requires_grad=True) if CASES[name].cascade else None


def labels(ignore: int = IGNORE, classes: int = CLASSES) -> torch.Tensor:
    """Makes int64 labels [B, H, W] in blocks, with an ignored corner."""
    draw = torch.Generator().manual_seed(3)
    labels_BHW = torch.randint(0, classes, (2, SIZE // 8, SIZE // 8), generator=draw)
    labels_BHW = labels_BHW.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels_BHW[:, :6, :6] = ignore
    return labels_BHW


def mmseg_losses(name: str, head: torch.nn.Module, labels_BHW: torch.Tensor, edges_BHW=None) -> dict:
    """Computes what mmseg's own ``head.loss`` gives."""
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label_HW[None])) for label_HW in labels_BHW]
    for sample, edge_HW in zip(samples, () if edges_BHW is None else edges_BHW):
        sample.gt_edge_map = PixelData(data=edge_HW[None])
    before = (previous_logits(name), ) if CASES[name].cascade else ()
    torch.manual_seed(4)
    return head.loss(features(name), *before, samples, TRAIN_CFG)
