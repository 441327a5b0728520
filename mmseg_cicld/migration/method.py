"""The method: ``uda`` of the old config becomes a teacher and a list of objectives."""
from typing import NamedTuple

from ..uda.objectives.source import THINGS
from .accounting import OldPart, is_number
from .network import is_hrda

_OBJECTIVES = 'model.objectives'
_PSEUDO_LABEL_KEYS = ('alpha', 'pseudo_threshold', 'pseudo_weight_ignore_top', 'pseudo_weight_ignore_bottom', 'blur',
                      'color_jitter_strength', 'color_jitter_probability')
_GRADIENTS = 'gradient norms are not logged by this package; the loss of a step is checked to be finite'
_MASK_KEYS = ('mask_mode', 'mask_alpha', 'mask_pseudo_threshold', 'mask_lambda', 'mask_generator')
_IMAGES = dict(separate='both', separatesrc='source', separatetrg='target')
_AUGMENT = 'aug'


class Method(NamedTuple):
    """Teacher (None without one) and objectives of ``ClassMixEMA``."""

    teacher: dict | None
    objectives: list[dict]


def adapts(root: OldPart) -> bool:
    """Tells whether the method of an old config uses target images."""
    return root.look('uda') is not None and not root.look('uda').get('source_only', False)


def migrate_method(root: OldPart) -> Method:
    """Migrates ``uda`` of a whole old config; without it, training is supervised by the source alone."""
    if root.look('uda') is None:
        root.drop('uda', 'None: there is no adaptation')
        return Method(None, [dict(type='SourceSupervision')])
    uda = root.part('uda')
    methods = dict(DACS=_dacs, AdvSeg=_advseg, MinEnt=_minent)
    if uda.kind not in methods:
        uda.refuse_type(f'{uda.look("type")!r} is no method of the published code: allowed are {sorted(methods)}')
        return Method(None, [])
    _drop_injected(uda, root)
    uda.drop('debug_img_interval', 'training steps are drawn by the UDAVisualizationHook of custom_hooks, if it is set')
    uda.drop('print_grad_magnitude', _GRADIENTS)
    method = methods[uda.kind](uda, root)
    root.part('model').drop('feature_scale', 'only the feature distance reads it, and it is off')
    return method


def _dacs(uda: OldPart, root: OldPart) -> Method:
    uda.take('type', 'model.type, model.objectives[1].type')
    uda.take_only('mix', 'class', 'model.objectives[1].type', "allowed is 'class'")
    source = dict(type='SourceSupervision', **_feature_distance(uda, root))
    if uda.take('source_only', 'model.teacher, model.objectives', False):
        masked = _migrate_masking(uda, f'{_OBJECTIVES}[1]', None, None)
        for key in _PSEUDO_LABEL_KEYS:
            uda.drop(key, 'source_only: there are neither pseudo-labels nor mixed images')
        return Method(None, [source, *masked])
    momentum = uda.number('alpha', 'model.teacher.momentum', 0.99)
    rule = _pseudo_label_rule(uda, root, f'{_OBJECTIVES}[1]')
    mix = dict(type='ClassMixSelfTraining', **rule, **_augmentation(uda, f'{_OBJECTIVES}[1].augmentation'))
    return Method(dict(momentum=momentum), [source, mix, *_migrate_masking(uda, f'{_OBJECTIVES}[2]', momentum, rule)])


def _advseg(uda: OldPart, root: OldPart) -> Method:
    losses = dict(LS='least_squares', Vanilla='cross_entropy')
    new = f'{_OBJECTIVES}[1]'
    uda.take('type', f'{new}.type')
    adversary = dict(type='OutputSpaceAdversarial', weight=_main_weight(uda, root, 'lambda_adv_target', new))
    kind = uda.text('discriminator_type', f'{new}.loss')
    if kind not in losses:
        uda.refuse('discriminator_type', f'{kind!r}: allowed are {sorted(losses)}')
    elif kind != 'LS':
        adversary['loss'] = losses[kind]
    for key in ('lr_D', 'lr_D_power', 'lr_D_min'):
        uda.drop(key, 'the discriminator trains with optim_wrapper like everything else; the old program stepped it '
                      'twice, with this Adam and with the outer optimiser')
    if is_hrda(root.part('model')) and 'feature_scale' in root.look('model'):
        root.part('model').refuse('feature_scale', 'AdvSeg judged the predictions of HRDA at this scale; '
                                                   'OutputSpaceAdversarial judges them in full size')
    return _baseline(uda, root, adversary)


def _minent(uda: OldPart, root: OldPart) -> Method:
    new = f'{_OBJECTIVES}[1]'
    uda.take('type', f'{new}.type')
    return _baseline(uda, root, dict(type='EntropyMinimisation', weight=_main_weight(uda, root, 'lambda_ent', new)))


def _baseline(uda: OldPart, root: OldPart, objective: dict) -> Method:
    """A method without a teacher, unless masking needs one."""
    source = dict(type='SourceSupervision')
    new = f'{_OBJECTIVES}[2]'
    uda.drop('blur', 'the old program did not read it: masked images are blurred in any case')
    if not _masks_target(uda):
        masked = _migrate_masking(uda, new, None, None)
        for key in _PSEUDO_LABEL_KEYS:
            uda.drop(key, 'there are no pseudo-labels')
        return Method(None, [source, objective, *masked])
    momentum = uda.number('alpha', 'model.teacher.momentum', 0.999)
    masked, = _migrate_masking(uda, new, momentum, _pseudo_label_rule(uda, root, new))
    # There is no other teacher that this one could differ from.
    return Method(masked.pop('own_teacher', dict(momentum=momentum)), [source, objective, masked])


def _main_weight(uda: OldPart, root: OldPart, key: str, new: str) -> float:
    if not isinstance(uda.look(key), dict):
        return uda.number(key, f'{new}.weight')
    weights = uda.part(key)
    allowed = (weights.look('aux'), ) if root.look('model').get('auxiliary_head') is None else (0, )
    weights.drop_if('aux', allowed, 'there is no auxiliary head', 'this package adapts the main head only')
    return weights.number('main', f'{new}.weight', 0.001)


def _pseudo_label_rule(uda: OldPart, root: OldPart, new: str) -> dict:
    """Migrates threshold and rows without pseudo-labels, which ClassMix and masking share.

    Args:
        uda: ``uda`` of the old config.
        root: The whole old config: margins of the pipeline exclude rows.
        new: Path of the objective that is named in the report.
    """
    rule = dict(threshold=uda.number('pseudo_threshold', f'{new}.threshold', 0.968))
    for side in ('top', 'bottom'):
        rows = uda.number(f'pseudo_weight_ignore_{side}', f'{new}.ignore_{side}')
        if rows:
            rule[f'ignore_{side}'] = rows
    train = root.look('data')['train']
    if len(rule) > 1 and isinstance(train.get('target'), dict) and train['target'].get('crop_pseudo_margins'):
        for side in ('top', 'bottom'):
            uda.refuse(f'pseudo_weight_ignore_{side}',
                       'these rows and data.train.target.crop_pseudo_margins exclude each other, as they always did')
    return rule


def _feature_distance(uda: OldPart, root: OldPart) -> dict:
    new, prefix = f'{_OBJECTIVES}[0].feature_distance', 'imnet_feature_dist'
    model = root.part('model')
    weight = uda.number(f'{prefix}_lambda', f'{new}.weight')
    uda.drop(f'{prefix}_scale_method', 'the old program never read it')
    if not weight:
        for key in ('classes', 'scale_min_ratio'):
            uda.drop(f'{prefix}_{key}', 'the feature distance is off')
        return {}
    if is_hrda(model):
        _check_feature_scale(model)
    if uda.look(f'{prefix}_classes') is None:
        uda.need(f'{prefix}_classes', f'{new}.classes')
        uda.drop(f'{prefix}_scale_min_ratio', 'has no effect without a list of classes')
        return dict(feature_distance=dict(weight=weight, classes=None))
    ratio = uda.number(f'{prefix}_scale_min_ratio', f'{new}.min_ratio', 0.75)
    classes = uda.numbers(f'{prefix}_classes', f'{new}.classes')
    chosen = 'things' if classes == THINGS else list(classes)
    return dict(feature_distance=dict(weight=weight, classes=chosen, min_ratio=ratio))


def _check_feature_scale(model: OldPart) -> None:
    context = min(model.numbers('scales', 'model.segmentor.scales', 2))
    if 'feature_scale' not in model:
        model.refuse('feature_scale', f'missing: 1 by default; this package takes the context features, {context}')
    model.drop_if('feature_scale', (context, ), 'the feature distance always takes the context features',
                  f'this package takes the context features, {context}')


def _augmentation(uda: OldPart, new: str) -> dict:
    changed = {}
    strength = uda.number('color_jitter_strength', f'{new}.jitter_strength', 0.2)
    if strength != 0.2:
        changed['jitter_strength'] = strength
    threshold = uda.number('color_jitter_probability', f'{new}.jitter_probability (1 - old: it was a threshold)', 0.2)
    if threshold != 0.2:
        changed['jitter_probability'] = round(1 - threshold, 12)
    if not uda.need('blur', f'{new}.blur_probability', True):
        changed['blur_probability'] = 0.0
    return dict(augmentation=changed) if changed else {}


def _drop_injected(uda: OldPart, root: OldPart) -> None:
    uda.drop_if('model', (root.look('model'), ), 'the old program copied it from model', 'differs from model')
    iterations = root.look('runner').get('max_iters') if isinstance(root.look('runner'), dict) else None
    uda.drop_if('max_iters', (iterations, ), 'the old program copied it from runner',
                'differs from runner.max_iters')
    for key in ('train_cfg', 'test_cfg'):
        uda.drop_if(key, (None, {}), 'is empty', 'settings here are unknown')
    if uda.look('mask_mode') is None:
        for key in _MASK_KEYS:
            uda.drop(key, 'mask_mode is None: masking is off')


def _masks_target(uda: OldPart) -> bool:
    """Tells whether target images are masked, which needs pseudo-labels."""
    return _kind(uda.look('mask_mode')) in ('separate', 'separatetrg')


def _migrate_masking(uda: OldPart, new: str, momentum: float | None, rule: dict | None) -> list[dict]:
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
