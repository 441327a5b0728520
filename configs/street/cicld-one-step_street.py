# CICLD, third stage: the whole network, for one step from no noise. Half of the iterations, a tenth of the rate.
# python tools/train_stages.py configs/street/cicld-{stage1,stage2,one-step}_street.py --work-dir DIR
_base_ = ['./cicld_one_step_network.py', '../_base_/uda/cicld_stage1.py']

hand_over = {'teacher.network.': 'student.'}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    objectives={{_base_.objectives}})

iterations = 150
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=15),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=15, end=iterations)
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
