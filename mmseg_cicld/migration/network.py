"""The segmentor: ``model`` of the old config becomes ``model.segmentor``."""
from .backbones import migrate_backbone, migrate_neck
from .heads import migrate_auxiliary_head, migrate_decode_head
from .old_part import OldPart

NEW = 'model.segmentor'
PLAIN, HRDA = ('EncoderDecoder', ), ('HRDAEncoderDecoder', 'MultiResEncoderDecoder')


def is_hrda(model: OldPart) -> bool:
    """Tells whether the segmentor is HRDA, by its name or its legacy name."""
    return model.kind in HRDA


def migrate_segmentor(model: OldPart, data_preprocessor: dict) -> dict:
    """Migrates ``model``.

    Args:
        model: ``model`` of the old config.
        data_preprocessor: Normalisation and padding, which the old pipelines did.
    """
    if model.kind not in (*PLAIN, *HRDA):
        model.refuse('type', f'{model.look("type")!r} is neither EncoderDecoder nor HRDAEncoderDecoder')
        return {}
    model.take('type', f'{NEW}.type')
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
        model.take('train_cfg', f'{NEW}.train_cfg')
    return dict(new, train_cfg=dict(), test_cfg=_test_cfg(model))


def _scales(model: OldPart) -> dict:
    new = dict(scales=model.numbers('scales', f'{NEW}.scales', 2),
               hr_crop_size=model.numbers('hr_crop_size', f'{NEW}.hr_crop_size', 2))
    if max(new['scales']) != 1:
        model.refuse('scales', f'{new["scales"]!r}: HRDAEncoderDecoder takes two scales of which the larger is 1')
    for key, default in dict(crop_coord_divisible=1, hr_slide_inference=True, hr_slide_overlapping=True).items():
        new[key] = model.take(key, f'{NEW}.{key}', default)
    model.drop_if('blur_hr_crop', (False, ), 'is off', 'this package has no blurred detail crop')
    return new


def _test_cfg(model: OldPart) -> dict:
    if 'test_cfg' not in model:
        return dict(mode='whole')
    old, path = model.part('test_cfg'), f'{NEW}.test_cfg'
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
