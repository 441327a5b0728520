# CICLD, second stage: the denoiser alone, by the noise loss and the adversary of three domains. It starts from the
# weights of the first stage.
_base_ = ['./cicld_network.py', '../_base_/uda/cicld_stage2.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
