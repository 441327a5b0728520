# CICLD with an autoencoder's encoder, stage 4 of 4: the denoiser alone. SYNTHIA to Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/cicld_vae-f8.py',
    '../_base_/datasets/synthia2cityscapes-512x512.py',
    '../_base_/uda/cicld_stage2.py',
    '../_base_/schedules/adamw_poly_40k_cicld.py',
]
# tools/train_stages.py begins with the averaged network of the stage before, which is the one that is evaluated.
hand_over = {'teacher.network.': 'student.'}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    evaluate='teacher',
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
