# CICLD with an autoencoder's encoder, stage 1 of 4: the autoencoder, on images of both domains. All in sequence:
# python tools/train_stages.py --work-dir DIR \
#   configs/street/cicld-autoencoder{_pretraining,-denoiser_street,-stage1_street,-stage2_street}.py
# The perceptual features are those of EfficientNet-Lite0's ImageNet weights.
_base_ = ['./segformer_network.py', './cicld_autoencoder.py']

model = dict(
    _delete_=True,
    type='AutoencoderPretraining',
    autoencoder={{_base_.autoencoder}},
    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(128, 128),
                           **_base_.normalisation),
    perceptual=dict(weight=1.0, network=_base_.model.backbone),
    adversary=dict(weight=0.1, start=400, channels=32, layers=3))
val_dataloader = None
val_evaluator = None
val_cfg = None
