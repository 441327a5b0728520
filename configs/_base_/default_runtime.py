# What all configs share: the runner, the process environment, logging and the default hooks.
custom_imports = dict(imports=['mmseg_cicld'], allow_failed_imports=False)
default_scope = 'mmseg'
runner_type = 'AdaptationRunner'

randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))  # without a GPU: gloo

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
label_audit = dict(max_files=16)  # files of each dataset that are looked at before training; None: none
load_from = None
resume = False

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4000, max_keep_ckpts=2),
    graceful_stop=dict(type='GracefulStopHook'),
    report=dict(type='ReportHook'),
    visualization=dict(type='SegVisualizationHook'))
