# The budget of the comparisons. Every network has learned from source images before: SegFormer's head by the quick start
# (`from_quick_start`), other networks by a row of their own (`source_only`). So a quarter of the iterations of the other
# street configs is enough to see what adaptation does.
options = {
    'model.teacher.momentum': 0.99,
    'param_scheduler.1.end': 200,
    'train_cfg.max_iters': 200,
    'train_cfg.val_interval': 200,
}
from_quick_start = {'load_from': 'work_dirs/source_only_street/iter_800.pth'}
rare_classes = {
    'train_dataloader.dataset.rare_class_sampling': dict(min_pixels=40, class_temp=0.1, min_crop_ratio=0.5),
}
source_only = {
    **rare_classes,
    'model.objectives': [dict(type='SourceSupervision')],
    'model.teacher': None,
    'model.evaluate': 'student',
    'train_dataloader.dataset.target': None,
    'optim_wrapper.optimizer.lr': 2e-3,
    'param_scheduler.1.end': 600,
    'train_cfg.max_iters': 600,
    'train_cfg.val_interval': 600,
}
# A third of CICLD's time less on a CPU that has it; the other networks gain nothing.
bfloat16 = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
