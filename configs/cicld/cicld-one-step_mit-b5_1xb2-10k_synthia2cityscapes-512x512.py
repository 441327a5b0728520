# CICLD with MiT-B5, fine-tuning for one step from no noise after the second stage, SYNTHIA to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/cicld_one_step_mit-b5.py',
    '../_base_/datasets/synthia2cityscapes-512x512.py',
    '../_base_/uda/cicld_stage1.py',
    '../_base_/schedules/adamw_poly_10k_cicld.py',
]
# tools/train_stages.py begins with the averaged network of the stage before, which is the one that is evaluated.
hand_over = {'teacher.network.': 'student.'}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    objectives={{_base_.objectives}})
