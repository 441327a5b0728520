"""Backbones and necks: MiT by its old names, those of mmseg as they are."""
import re

from ..models.backbones.mit_variants import MIT_VARIANTS
from ..models.necks import SegFormerAdapter
from .old_part import OldPart
from .stock import copy_stock, stock_class

NEW = 'model.segmentor.backbone'
_MIT = re.compile(r'mit_(b[0-5])')
_MIT_FILE = re.compile(r'(?:^|/)mit_(b[0-5])\.pth$')


def migrate_backbone(model: OldPart) -> dict:
    """Migrates ``model.backbone`` and ``model.pretrained``."""
    backbone = model.part('backbone')
    mit = _MIT.fullmatch(backbone.kind)
    if mit:
        return _mit(model, backbone, mit.group(1))
    kind = stock_class(backbone.kind)
    if kind is None:
        backbone.refuse('type', f'{backbone.look("type")!r} is neither mit_b0 to mit_b5 nor a backbone of mmseg 1.x')
        return {}
    new = copy_stock(backbone, kind, NEW, skip=('pretrained', 'init_cfg'))
    weights = _pretrained(model, backbone)
    if 'init_cfg' in backbone:
        weights = _init_cfg(backbone.part('init_cfg')) if backbone.look('init_cfg') else backbone.take('init_cfg', NEW)
    return dict(new, init_cfg=weights)


def is_mit(model: OldPart) -> bool:
    """Tells whether the backbone is a MiT by its old name."""
    return _MIT.fullmatch(model.part('backbone').kind) is not None


def migrate_neck(model: OldPart) -> dict:
    """Migrates ``model.neck``; returns it under its key, or nothing if there is none."""
    if model.look('neck') is None:
        model.drop('neck', 'None: there is no neck')
        return {}
    neck = model.part('neck')
    kind = SegFormerAdapter if neck.kind == 'SegFormerAdapter' else stock_class(neck.kind)
    if kind is None:
        neck.refuse('type', f'{neck.look("type")!r} is neither SegFormerAdapter nor a neck of mmseg 1.x')
        return {}
    return dict(neck=copy_stock(neck, kind, 'model.segmentor.neck'))


def _mit(model: OldPart, backbone: OldPart, variant: str) -> dict:
    backbone.take('type', f'{NEW}.type, {NEW}.variant')
    new = dict(type='FusedMixVisionTransformer', variant=variant,
               drop_path_rate=backbone.take('drop_path_rate', f'{NEW}.drop_path_rate', 0.1))
    for key in ('drop_rate', 'attn_drop_rate'):
        if key in backbone:
            new[key] = backbone.number(key, f'{NEW}.{key}')
    backbone.drop('style', 'the old class never read it')
    backbone.drop('freeze_patch_embed', 'the old class stored it and froze nothing')
    backbone.drop('ema_drop_path_rate', 'legacy: the teacher runs without drop path anyway')
    return dict(new, init_cfg=_mit_weights(model, backbone, variant))


def _mit_weights(model: OldPart, backbone: OldPart, variant: str) -> dict | None:
    owner = model if model.look('pretrained') is not None else backbone
    for part in (model, backbone):
        if part.look('pretrained') is None:
            part.take('pretrained', f'{NEW}.init_cfg')
    weights = owner.look('pretrained')
    if weights is None:
        return None
    file = _MIT_FILE.search(str(weights))
    if file is None or file.group(1) != variant:
        owner.refuse('pretrained', f'{weights!r} is not the file mit_{variant}.pth, the only one known under the '
                                   'tensor names of mmseg 1.x')
        return None
    owner.take('pretrained', f'{NEW}.init_cfg.checkpoint (the same weights under the tensor names of mmseg 1.x)')
    return dict(type='VerifiedPretrained', checkpoint=MIT_VARIANTS[variant].weights_url)


def _pretrained(model: OldPart, backbone: OldPart) -> dict | None:
    values = [part.take('pretrained', f'{NEW}.init_cfg.checkpoint') for part in (model, backbone)]
    checkpoint = next((value for value in values if value is not None), None)
    return None if checkpoint is None else dict(type='VerifiedPretrained', checkpoint=checkpoint)


def _init_cfg(init: OldPart) -> dict:
    if init.kind != 'Pretrained':
        init.refuse('type', f"{init.look('type')!r}: only 'Pretrained' is known")
    init.take('type', f'{NEW}.init_cfg.type')
    return dict(type='VerifiedPretrained', checkpoint=init.need('checkpoint', f'{NEW}.init_cfg.checkpoint'))
