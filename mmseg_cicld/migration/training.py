"""How a config trains: optimiser, learning rate, length, validation, seed, processes, logs, checkpoints."""
import copy
import inspect

import torch

from .accounting import OldPart
from .writing import Name

_OPTIM = 'optim_wrapper'
_COPIED_RULES = ('bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'bypass_duplicate')
_SAME_NAMES = ('head', 'backbone', 'neck', 'decode_head', 'auxiliary_head')
# The values of configs/_base_/default_runtime.py, without what an old config sets.
_DEFAULTS = dict(
    custom_imports=dict(imports=['mmseg_cicld'], allow_failed_imports=False),
    default_scope='mmseg',
    runner_type='AdaptationRunner',
    randomness=dict(seed=None),
    env_cfg=dict(
        cudnn_benchmark=False,
        mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
        dist_cfg=dict(backend='nccl')),
    vis_backends=[dict(type='LocalVisBackend')],
    visualizer=dict(type='SegLocalVisualizer', vis_backends=Name('vis_backends'), name='visualizer'),
    log_processor=dict(by_epoch=False),
    log_level='INFO',
    label_audit=dict(max_files=16),
    load_from=None,
    resume=False,
    default_hooks=dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4000, max_keep_ckpts=-1),
        graceful_stop=dict(type='GracefulStopHook'),
        report=dict(type='ReportHook'),
        visualization=dict(type='SegVisualizationHook')))
_DISTRIBUTED = 'matters only in distributed training; UDADistributedDataParallel decides it'
_CONVERTER = 'convert them with tools/model_converters/published.py --to training and set load_from to the result'
_INFORMATION = ('exp', 'n_gpus', 'gpu_model', 'git_rev', 'gpu_ids', 'gpus', 'device')


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


def migrate_runtime(root: OldPart) -> dict:
    """Migrates everything but network, data, method and schedule."""
    new = copy.deepcopy(_DEFAULTS)
    new['randomness']['seed'] = root.take('seed', 'randomness.seed')
    if 'deterministic' in root:
        new['randomness']['deterministic'] = root.take('deterministic', 'randomness.deterministic')
    new['env_cfg']['cudnn_benchmark'] = root.take('cudnn_benchmark', 'env_cfg.cudnn_benchmark', False)
    if root.look('dist_params'):
        backend = root.part('dist_params').take('backend', 'env_cfg.dist_cfg.backend', 'nccl')
        new['env_cfg']['dist_cfg']['backend'] = backend
    new['log_level'] = root.take('log_level', 'log_level', 'INFO')
    _logging(root, new)
    _checkpoints(root, new['default_hooks']['checkpoint'])
    _drop(root)
    return new


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
        return dict(new, **_clip_grad(root))
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


def _logging(root: OldPart, new: dict) -> None:
    if not root.look('log_config'):
        return
    log = root.part('log_config')
    new['default_hooks']['logger']['interval'] = log.take('interval', 'default_hooks.logger.interval', 50)
    log.drop('img_interval', 'training steps are drawn by the UDAVisualizationHook of custom_hooks, if it is set')
    for hook in log.parts('hooks') if 'hooks' in log else []:
        if hook.kind == 'TextLoggerHook':
            hook.drop('type', 'default_hooks.logger writes the log')
        elif hook.kind == 'TensorboardLoggerHook':
            hook.take('type', 'vis_backends')
            new['vis_backends'].append(dict(type='TensorboardVisBackend'))
        else:
            hook.refuse_type(f'{hook.look("type")!r}: add its backend to vis_backends by hand')
        hook.drop_if('by_epoch', (False, ), 'iterations are counted', 'count iterations')


def _checkpoints(root: OldPart, hook: dict) -> None:
    if root.look('checkpoint_config'):
        config, new = root.part('checkpoint_config'), 'default_hooks.checkpoint'
        config.drop_if('by_epoch', (False, ), 'iterations are counted', 'count iterations')
        for key in ('interval', 'max_keep_ckpts', 'save_optimizer'):
            if key in config:
                hook[key] = config.take(key, f'{new}.{key}')
        config.drop('meta', 'was filled in by the old program')
    if isinstance(root.look('evaluation'), dict) and 'save_best' in root.look('evaluation'):
        hook['save_best'] = root.part('evaluation').take('save_best', 'default_hooks.checkpoint.save_best')


def _drop(root: OldPart) -> None:
    root.drop_if('load_from', (None, ), 'nothing is loaded', f'weights have other names today: {_CONVERTER}')
    root.drop_if('resume_from', (None, ), 'nothing is resumed',
                 f'a run of the old program cannot be resumed, but its weights can be loaded: {_CONVERTER}')
    root.drop_if('workflow', ([('train', 1)], [['train', 1]]), 'validation has a loop of its own',
                 'only training is known')
    for key in ('find_unused_parameters', 'use_ddp_wrapper'):
        root.drop(key, _DISTRIBUTED)
    root.drop('work_dir', 'is an option of tools/train.py')
    for key in root.values:
        if key in _INFORMATION or ((key == 'name' or key.startswith('name_')) and isinstance(root.look(key), str)):
            root.drop(key, 'information for people')
