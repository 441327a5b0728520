"""The segmentor: ``model`` of the old config becomes ``model.segmentor``, with its backbone and neck."""
import re

from ..models.backbones.mit_variants import MIT_VARIANTS
from ..models.necks import SegFormerAdapter
from .accounting import OldPart
from .heads import migrate_auxiliary_head, migrate_decode_head
from .stock import copy_stock, stock_class

_SEGMENTOR, _BACKBONE = 'model.segmentor', 'model.segmentor.backbone'
_PLAIN, _HRDA = ('EncoderDecoder', ), ('HRDAEncoderDecoder', 'MultiResEncoderDecoder')
_MIT = re.compile(r'mit_(b[0-5])')
_MIT_FILE = re.compile(r'(?:^|/)mit_(b[0-5])\.pth$')


def is_hrda(model: OldPart) -> bool:
    """Tells whether the segmentor is HRDA, by its name or its legacy name."""
    return model.kind in _HRDA


def migrate_segmentor(model: OldPart, data_preprocessor: dict) -> dict:
    """Migrates ``model``.

    Args:
        model: ``model`` of the old config.
        data_preprocessor: Normalisation and padding, which the old pipelines did.
    """
    if model.kind not in (*_PLAIN, *_HRDA):
        model.refuse_type(f'{model.look("type")!r} is neither EncoderDecoder nor HRDAEncoderDecoder')
        return {}
    model.take('type', f'{_SEGMENTOR}.type')
    new = dict(type='HRDAEncoderDecoder' if is_hrda(model) else 'EncoderDecoder', data_preprocessor=data_preprocessor)
    if is_hrda(model):
        new.update(_scales(model))
    new.update(backbone=migrate_backbone(model), **migrate_neck(model), decode_head=migrate_decode_head(model),
               **migrate_auxiliary_head(model))
    if model.look('train_cfg'):
        train_cfg = model.part('train_cfg')
        for key in ('work_dir', 'log_config'):
            train_cfg.drop(key, 'was filled in by the old program')
    else:
        model.take('train_cfg', f'{_SEGMENTOR}.train_cfg')
    return dict(new, train_cfg=dict(), test_cfg=_test_cfg(model))


def migrate_backbone(model: OldPart) -> dict:
    """Migrates ``model.backbone`` and ``model.pretrained``."""
    backbone = model.part('backbone')
    mit = _MIT.fullmatch(backbone.kind)
    if mit:
        return _mit(model, backbone, mit.group(1))
    kind = stock_class(backbone.kind)
    if kind is None:
        backbone.refuse_type(f'{backbone.look("type")!r} is neither mit_b0 to mit_b5 nor a backbone of mmseg 1.x')
        return {}
    new = copy_stock(backbone, kind, _BACKBONE, skip=('pretrained', 'init_cfg'))
    weights = _pretrained(model, backbone)
    if 'init_cfg' in backbone:
        given = backbone.look('init_cfg')
        weights = _init_cfg(backbone.part('init_cfg')) if given else backbone.take('init_cfg', _BACKBONE)
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
        neck.refuse_type(f'{neck.look("type")!r} is neither SegFormerAdapter nor a neck of mmseg 1.x')
        return {}
    return dict(neck=copy_stock(neck, kind, 'model.segmentor.neck'))


def _scales(model: OldPart) -> dict:
    new = dict(scales=model.numbers('scales', f'{_SEGMENTOR}.scales', 2),
               hr_crop_size=model.numbers('hr_crop_size', f'{_SEGMENTOR}.hr_crop_size', 2))
    if max(new['scales']) != 1:
        model.refuse('scales', f'{new["scales"]!r}: HRDAEncoderDecoder takes two scales of which the larger is 1')
    for key, default in dict(crop_coord_divisible=1, hr_slide_inference=True, hr_slide_overlapping=True).items():
        new[key] = model.take(key, f'{_SEGMENTOR}.{key}', default)
    model.drop_if('blur_hr_crop', (False, ), 'is off', 'this package has no blurred detail crop')
    return new


def _test_cfg(model: OldPart) -> dict:
    if 'test_cfg' not in model:
        return dict(mode='whole')
    old, path = model.part('test_cfg'), f'{_SEGMENTOR}.test_cfg'
    new = dict(mode=old.need('mode', f'{path}.mode', 'whole'))
    if new['mode'] not in ('whole', 'slide'):
        old.refuse('mode', f"{new['mode']!r}: allowed are 'whole' and 'slide'")
    for key in ('crop_size', 'stride'):
        if key in old and new['mode'] == 'whole':
            old.drop(key, "has no effect with mode='whole'")
        elif key in old:
            new[key] = old.numbers(key, f'{path}.{key}', 2)
    if is_hrda(model) and new['mode'] == 'slide':
        new['batched_slide'] = old.take('batched_slide', f'{path}.batched_slide', False)
    else:
        old.drop('batched_slide', 'an EncoderDecoder of mmseg 1.x takes the windows one after another: same result')
    return new


def _mit(model: OldPart, backbone: OldPart, variant: str) -> dict:
    backbone.take('type', f'{_BACKBONE}.type, {_BACKBONE}.variant')
    new = dict(type='FusedMixVisionTransformer', variant=variant,
               drop_path_rate=backbone.take('drop_path_rate', f'{_BACKBONE}.drop_path_rate', 0.1))
    for key in ('drop_rate', 'attn_drop_rate'):
        if key in backbone:
            new[key] = backbone.number(key, f'{_BACKBONE}.{key}')
    backbone.drop('style', 'the old class never read it')
    backbone.drop('freeze_patch_embed', 'the old class stored it and froze nothing')
    backbone.drop('ema_drop_path_rate', 'legacy: the teacher runs without drop path anyway')
    return dict(new, init_cfg=_mit_weights(model, backbone, variant))


def _mit_weights(model: OldPart, backbone: OldPart, variant: str) -> dict | None:
    owner = model if model.look('pretrained') is not None else backbone
    for part in (model, backbone):
        if part.look('pretrained') is None:
            part.take('pretrained', f'{_BACKBONE}.init_cfg')
    weights = owner.look('pretrained')
    if weights is None:
        return None
    file = _MIT_FILE.search(str(weights))
    if file is None or file.group(1) != variant:
        owner.refuse('pretrained', f'{weights!r} is not the file mit_{variant}.pth, the only one known under the '
                                   'tensor names of mmseg 1.x')
        return None
    owner.take('pretrained', f'{_BACKBONE}.init_cfg.checkpoint (the same weights under the tensor names of mmseg 1.x)')
    return dict(type='VerifiedPretrained', checkpoint=MIT_VARIANTS[variant].weights_url)


def _pretrained(model: OldPart, backbone: OldPart) -> dict | None:
    values = [part.take('pretrained', f'{_BACKBONE}.init_cfg.checkpoint') for part in (model, backbone)]
    checkpoint = next((value for value in values if value is not None), None)
    return None if checkpoint is None else dict(type='VerifiedPretrained', checkpoint=checkpoint)


def _init_cfg(init: OldPart) -> dict:
    if init.kind != 'Pretrained':
        init.refuse_type(f"{init.look('type')!r}: only 'Pretrained' is known")
    init.take('type', f'{_BACKBONE}.init_cfg.type')
    return dict(type='VerifiedPretrained', checkpoint=init.need('checkpoint', f'{_BACKBONE}.init_cfg.checkpoint'))
