# CICLD with an autoencoder's encoder, stage 2 of 4: the latent denoiser, on images of both domains without labels.
_base_ = ['./cicld_autoencoder_network.py', '../_base_/uda/cicld_denoiser.py']

hand_over = {f'autoencoder.encoder.{part}.': f'student.backbone.{part}.'
             for part in ('conv_in', 'down_blocks', 'mid_block')}
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    train_only={{_base_.train_only}},
    objectives={{_base_.objectives}})
