# CICLD, second stage: the denoiser alone, by the noise loss and the adversary of three domains. Both in sequence:
# python tools/train_stages.py configs/street/cicld-stage{1,2}_street.py --work-dir DIR
# It begins with the averaged network of the first stage, which is the one that is evaluated.
_base_ = ['./cicld_network.py', '../_base_/uda/cicld_stage2.py']

hand_over = {'teacher.network.': 'student.'}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
