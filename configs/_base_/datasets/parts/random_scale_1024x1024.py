# Images whose short side is 0.9 to 1.1 times 1024, as in VFM-UDA++; what is lower than the crop is padded with black.
labelled_scaled_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='RandomResize', scale=(4096, 1024), ratio_range=(0.9, 1.1), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=(1024, 1024), pad_val=dict(img=0, seg=255)),
    dict(type='PackUDAInputs')
]
unlabelled_scaled_pipeline = [  # target labels are never used in training
    dict(type='LoadImageStrictly'),
    # No pseudo-labels at the border of the image and on the own bonnet: 3 % above, left and right, 25 % below.
    dict(type='LoadPseudoLabelMargins', shares=(0.03, 0.25, 0.03, 0.03)),
    dict(type='RandomResize', scale=(4096, 1024), ratio_range=(0.9, 1.1), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=(1024, 1024), pad_val=dict(img=0, seg=255)),
    dict(type='PackUDAInputs')
]
