"""Optimiser, learning rate, length of the training, validation: by iteration, as the family trains."""
import inspect

import torch

from .old_part import OldPart

_OPTIM = 'optim_wrapper'
_COPIED_RULES = ('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'bypass_duplicate')
_SAME_NAMES = ('head', 'backbone', 'neck', 'decode_head', 'auxiliary_head')


def migrate_schedule(root: OldPart, mit: bool) -> dict:
    """Migrates ``optimizer``, ``optimizer_config``, ``lr_config`` and ``runner``.

    Args:
        root: The whole old config.
        mit: Whether the backbone is a MiT, whose parameters have other names today.
    """
    iterations, validation = _length(root)
    return dict(
        optim_wrapper=_optim_wrapper(root, mit),
        param_scheduler=_param_scheduler(root, iterations),
        train_cfg=dict(type='ExactResumeTrainLoop', max_iters=iterations, val_interval=validation),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'))


def migrate_metrics(root: OldPart) -> list[str]:
    """Migrates ``evaluation.metric``."""
    if not isinstance(root.look('evaluation'), dict):
        return ['mIoU']
    evaluation = root.part('evaluation')
    metrics = evaluation.take('metric', 'val_evaluator.iou_metrics, test_evaluator.iou_metrics', 'mIoU')
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    unknown = [metric for metric in metrics if metric not in ('mIoU', 'mDice', 'mFscore')]
    if unknown:
        evaluation.refuse('metric', f'{unknown}: IoUMetric has mIoU, mDice and mFscore')
    return list(metrics)


def _length(root: OldPart) -> tuple[int, int]:
    runner = root.part('runner') if 'runner' in root else None
    if runner is None:
        root.refuse('runner', 'missing: the old program needs it')
        return 40000, 4000
    runner.take_only('type', 'IterBasedRunner', 'train_cfg.type', 'train by iterations, with the IterBasedRunner')
    iterations = runner.number('max_iters', 'train_cfg.max_iters, param_scheduler', 40000)
    if not isinstance(root.look('evaluation'), dict):
        root.refuse('evaluation', 'missing: how often to validate')
        return iterations, iterations
    evaluation = root.part('evaluation')
    evaluation.drop_if('by_epoch', (False, ), 'iterations are counted', 'count iterations')
    for key in ('pre_eval', 'efficient_test'):
        evaluation.drop(key, 'the evaluator always sums up image by image')
    return iterations, evaluation.number('interval', 'train_cfg.val_interval', iterations)


def _optim_wrapper(root: OldPart, mit: bool) -> dict:
    new = dict(type='OptimWrapper', constructor='MergedOptimWrapperConstructor')
    optimizer = root.part('optimizer') if 'optimizer' in root else OldPart({}, (), root.ledger)
    found = getattr(torch.optim, optimizer.kind, None)
    if not isinstance(found, type):
        root.refuse('optimizer', f'{optimizer.look("type")!r} is no optimiser of torch')
        return new
    optimizer.drop_if('constructor', ('DefaultOptimizerConstructor', ), 'MergedOptimWrapperConstructor sets the same '
                      'rates', 'only the DefaultOptimizerConstructor is known')
    accepted = {'type'} | set(inspect.signature(found).parameters) - {'params'}
    settings = {key: optimizer.take(key, f'{_OPTIM}.optimizer.{key}') for key in optimizer.values if key in accepted}
    new['optimizer'] = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    rules = {}
    if optimizer.look('paramwise_cfg'):
        rules = _paramwise(optimizer.part('paramwise_cfg'), mit)
    else:
        optimizer.drop('paramwise_cfg', 'is empty')
    return dict(new, **(dict(paramwise_cfg=rules) if rules else {}), **_clip_grad(root))


def _paramwise(old: OldPart, mit: bool) -> dict:
    path = f'{_OPTIM}.paramwise_cfg'
    rules = {key: old.take(key, f'{path}.{key}') for key in _COPIED_RULES if key in old}
    if not old.look('custom_keys'):
        old.drop('custom_keys', 'is empty')
        return rules
    keys = old.part('custom_keys')
    custom = _mit_custom_keys(keys, rules) if mit else {
        key: _multipliers(keys.part(key), f'{path}.custom_keys.{key}') for key in keys.values}
    return dict(rules, **(dict(custom_keys=custom) if custom else {}))


def _mit_custom_keys(keys: OldPart, rules: dict) -> dict:
    """Parameters of a MiT had other names: 'norm' was in the names of all its norm layers, today it is not."""
    path = f'{_OPTIM}.paramwise_cfg'
    custom = {}
    for key in keys.values:
        if key == 'pos_block':
            keys.part(key).drop_each(('lr_mult', 'decay_mult'), 'pos_block is in no name of a parameter of MiT')
        elif key == 'norm' and 'norm_decay_mult' in rules:
            keys.refuse(key, 'goes with norm_decay_mult in no way that today\'s names allow')
        elif key == 'norm':
            rules['norm_decay_mult'] = keys.part(key).number('decay_mult', f'{path}.norm_decay_mult', 1)
        elif key in _SAME_NAMES or key.startswith(('decode_head.', 'auxiliary_head.')):
            custom[key] = _multipliers(keys.part(key), f'{path}.custom_keys.{key}')
        else:
            keys.refuse(key, 'parameters of MiT have other names today: give the new part of the name by hand')
    if 'norm' in keys.values and 'head' not in custom:
        custom['head'] = {}  # custom keys overrule norm_decay_mult: no head had 'norm' in the names of its norm layers
    return custom


def _multipliers(old: OldPart, new: str) -> dict:
    return {key: old.take(key, f'{new}.{key}') for key in ('lr_mult', 'decay_mult') if key in old}


def _clip_grad(root: OldPart) -> dict:
    if not root.look('optimizer_config'):
        root.drop('optimizer_config', 'ClassMixEMA steps through optim_wrapper')
        return {}
    config = root.part('optimizer_config')
    if not config.look('grad_clip'):
        config.drop('grad_clip', 'is off')
        return {}
    clip = config.part('grad_clip')
    return dict(clip_grad={key: clip.take(key, f'{_OPTIM}.clip_grad.{key}') for key in ('max_norm', 'norm_type')
                           if key in clip})


def _param_scheduler(root: OldPart, iterations: int) -> list[dict]:
    # mmengine's schedules multiply and take end - begin - 1 steps, so these give the old rates exactly.
    if 'lr_config' not in root:
        root.refuse('lr_config', 'missing: the old program needs it')
        return []
    old = root.part('lr_config')
    old.take_only('policy', 'poly', 'param_scheduler[-1].type', "only 'poly' is known: write other schedules by hand")
    old.take_only('by_epoch', False, 'param_scheduler[-1].by_epoch', 'only by_epoch=False is known')
    poly = dict(type='PolyLR', power=old.take('power', 'param_scheduler[-1].power', 1.0),
                eta_min=old.take('min_lr', 'param_scheduler[-1].eta_min', 0.0), by_epoch=False, begin=0,
                end=iterations + 1)
    warmup = _warmup(old)
    if warmup and poly['eta_min']:
        old.refuse('min_lr', f'{poly["eta_min"]} together with a warm-up: the schedules of mmengine cannot give both')
    return [*warmup, poly]


def _warmup(old: OldPart) -> list[dict]:
    kind = old.look('warmup')
    if kind is None:
        for key in ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch'):
            old.drop(key, 'there is no warm-up')
        return []
    old.drop_if('warmup_by_epoch', (False, ), 'schedules count iterations', 'only warmup_by_epoch=False is known')
    old.take('warmup', 'param_scheduler[0].type')
    steps = old.number('warmup_iters', 'param_scheduler[0].end', 1)
    ratio = old.take('warmup_ratio', 'param_scheduler[0].start_factor', 0.1)
    common = dict(by_epoch=False, begin=0, end=steps + 1)
    if kind == 'linear':
        return [dict(type='LinearLR', start_factor=ratio, **common)]
    if kind == 'constant':
        return [dict(type='ConstantLR', factor=ratio, **common)]
    old.refuse('warmup', f"{kind!r}: allowed are 'linear' and 'constant'")
    return []
