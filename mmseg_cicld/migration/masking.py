"""Masked image consistency: the ``mask_*`` keys of ``uda``."""
from .old_part import OldPart, is_number

MASK_KEYS = ('mask_mode', 'mask_alpha', 'mask_pseudo_threshold', 'mask_lambda', 'mask_generator')
_IMAGES = dict(separate='both', separatesrc='source', separatetrg='target')
_AUGMENT = 'aug'


def masks_target(uda: OldPart) -> bool:
    """Tells whether target images are masked, which needs pseudo-labels."""
    return _kind(uda.look('mask_mode')) in ('separate', 'separatetrg')


def migrate_masking(uda: OldPart, new: str, momentum: float | None, rule: dict | None) -> list[dict]:
    """Migrates the ``mask_*`` keys to an objective.

    Args:
        uda: ``uda`` of the old config.
        new: Path of the objective.
        momentum: That of the method's teacher; None if there are no pseudo-labels.
        rule: Threshold and rows to ignore of the method.

    Returns:
        The objective, or nothing if masking is off.
    """
    mode = uda.look('mask_mode')
    if mode is None:
        return []
    kind = _kind(mode)
    if kind not in _IMAGES:
        uda.refuse('mask_mode', f'{mode!r}: allowed are {sorted(_IMAGES)}, each also with {_AUGMENT}')
        return []
    uda.take('mask_mode', f'{new}.images, {new}.augment')
    augment = mode.endswith(_AUGMENT)
    _read_augmentation(uda, augment)
    objective = dict(type='MaskedConsistency', **_blocks(uda, new),
                     images=_IMAGES[kind] if momentum is not None else 'source', augment=augment,
                     weight=uda.number('mask_lambda', f'{new}.weight', 1))
    if objective['images'] == 'source':
        for key in ('mask_alpha', 'mask_pseudo_threshold'):
            uda.drop(key, 'masked source images are supervised by their labels')
        return [objective]
    return [dict(objective, **_pseudo_labels(uda, new, momentum, rule))]


def _blocks(uda: OldPart, new: str) -> dict:
    if not isinstance(uda.look('mask_generator'), dict):
        uda.refuse('mask_generator', f'{uda.look("mask_generator")!r}: masking needs dict(type=\'block\', '
                                     'mask_ratio=..., mask_block_size=...)')
        return {}
    generator = uda.part('mask_generator')
    generator.take_only('type', 'block', f'{new}.type', "allowed is 'block'")
    return dict(block=generator.number('mask_block_size', f'{new}.block', 64),
                ratio=generator.number('mask_ratio', f'{new}.ratio', 0.7))


def _pseudo_labels(uda: OldPart, new: str, momentum: float, rule: dict) -> dict:
    alpha = uda.need('mask_alpha', f'{new}.own_teacher, or the teacher of the method if it is the same', 'same')
    threshold = uda.need('mask_pseudo_threshold', f'{new}.threshold', 'same')
    if alpha != 'same' and not is_number(alpha):
        uda.refuse('mask_alpha', f"{alpha!r}: allowed are 'same' and numbers")
    if threshold not in ('same', None) and not is_number(threshold):
        uda.refuse('mask_pseudo_threshold', f"{threshold!r}: allowed are 'same', None and numbers")
    settings = dict(rule) if threshold == 'same' else dict(rule, threshold=threshold)
    # Two averages with one momentum are equal, so one teacher does for both.
    return settings if alpha in ('same', momentum) else dict(settings, own_teacher=dict(momentum=alpha))


def _read_augmentation(uda: OldPart, augment: bool) -> None:
    for key in ('color_jitter_strength', 'color_jitter_probability'):
        if not augment:
            uda.drop(key, 'masked images are not jittered in this mask_mode')
        elif uda.look(key, 0.2) != 0.2:
            uda.refuse(key, f'{uda.look(key)!r}: masked images are jittered in the published strength, 0.2')
        uda.take(key, 'model.objectives: augment=True stands for it')


def _kind(mode: object) -> str | None:
    return mode.removesuffix(_AUGMENT) if isinstance(mode, str) else None
