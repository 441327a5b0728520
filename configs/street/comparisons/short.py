# The budget of the comparisons: every network learns from source images first, in a row of its own (`source_only`), then
# adapts, with 2 images of each domain. The teacher is evaluated, as in tools/adapt.py; of the source-only rows the student.
options = {
    'train_dataloader.batch_size': 2,
    'param_scheduler.1.end': 200,
    'train_cfg.max_iters': 200,
    'train_cfg.val_interval': 200,
}
seeds = [0, 1, 2, 3, 4]
rare_classes = {
    'train_dataloader.dataset.rare_class_sampling': dict(min_pixels=40, class_temp=0.1, min_crop_ratio=0.5),
}
source_only = {
    **rare_classes,
    'model.objectives': [dict(type='SourceSupervision')],
    'model.teacher': None,
    'model.evaluate': 'student',
    'train_dataloader.dataset.target': None,
    'param_scheduler.1.end': 300,
    'train_cfg.max_iters': 300,
    'train_cfg.val_interval': 300,
}
# bfloat16 on a processor that has units for it: a third of CICLD's time less; the other networks gain nothing.
fast = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'auto'}
