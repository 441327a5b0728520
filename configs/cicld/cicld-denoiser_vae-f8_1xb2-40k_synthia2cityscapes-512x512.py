# CICLD with an autoencoder's encoder, stage 2 of 4: the latent denoiser, on images of SYNTHIA and Cityscapes.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/cicld_vae-f8.py',
    '../_base_/datasets/synthia2cityscapes-512x512.py',
    '../_base_/uda/cicld_denoiser.py',
    '../_base_/schedules/adamw_poly_40k_cicld.py',
]
hand_over = {f'autoencoder.encoder.{part}.': f'student.backbone.{part}.'
             for part in ('conv_in', 'down_blocks', 'mid_block')}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
# Neck and decoder have not learned anything yet, so there is nothing to score.
val_dataloader = None
val_evaluator = None
val_cfg = None
