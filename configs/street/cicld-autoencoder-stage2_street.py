# CICLD with an autoencoder's encoder, stage 4 of 4: the denoiser alone, from the averaged network of the stage before.
_base_ = ['./cicld_autoencoder_network.py', '../_base_/uda/cicld_stage2.py']

hand_over = {'teacher.network.': 'student.'}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher=dict(momentum=0.99),
    evaluate='teacher',
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
