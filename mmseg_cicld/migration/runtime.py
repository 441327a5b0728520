"""What surrounds the training: seed, processes, logs, checkpoints."""
import copy

from .old_part import OldPart
from .writing import Name

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
        visualization=dict(type='SegVisualizationHook')))
_DISTRIBUTED = 'matters only in distributed training; UDADistributedDataParallel decides it'
_CONVERTER = 'convert them with tools/model_converters/published.py --to training and set load_from to the result'
_INFORMATION = ('exp', 'n_gpus', 'gpu_model', 'git_rev', 'gpu_ids', 'gpus', 'device')


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
            hook.refuse('type', f'{hook.look("type")!r}: add its backend to vis_backends by hand')
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
        if key in _INFORMATION or key == 'name' or key.startswith('name_'):
            root.drop(key, 'information for people')
