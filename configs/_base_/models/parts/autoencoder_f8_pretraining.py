# Pre-training of that autoencoder. ImageNet features of a ResNet-50 judge beside the pixels; the discriminator takes
# part in the second half, as it starts late in the published training too.
_base_ = ['./autoencoder_f8.py']

model = dict(
    type='AutoencoderPretraining',
    autoencoder={{_base_.autoencoder}},
    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(512, 512),
                           **_base_.normalisation),
    perceptual=dict(
        weight=1.0,
        network=dict(
            type='ResNetV1c',
            depth=50,
            init_cfg=dict(
                type='VerifiedPretrained', checkpoint='open-mmlab://resnet50_v1c', key='perceptual.network'))),
    adversary=dict(weight=0.1, start=20000, channels=64, layers=3))
