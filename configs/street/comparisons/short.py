# The budget of the comparisons: half of that of the other configs of the street set.
options = {
    'model.teacher.momentum': 0.99,
    'param_scheduler.1.end': 400,
    'train_cfg.max_iters': 400,
    'train_cfg.val_interval': 400,
}
