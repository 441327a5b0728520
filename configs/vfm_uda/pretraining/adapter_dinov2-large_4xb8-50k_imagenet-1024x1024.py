# The ViT adapter of VFM-UDA++ on DINOv2-L learns ImageNet-1k before it learns to segment; the transformer is as it came.
# Then: --cfg-options load_from=work_dirs/adapter_dinov2-large_4xb8-50k_imagenet-1024x1024/iter_50000.pth
# Published are the 50 000 steps, the size and the frozen transformer; rates are ours.
_base_ = ['../../_base_/default_runtime.py', '../../_base_/models/vit-adapter_dinov2-large_1024x1024.py']

crop_size = (1024, 1024)
iterations = 50000
model = dict(_delete_=True, type='AdapterPretraining', network={{_base_.model}}, num_classes=1000)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='KeyedInfiniteSampler'),
    dataset=dict(
        type='ImageFolderDataset',
        data_root='data/imagenet/train',
        pipeline=[
            dict(type='LoadImageStrictly'),
            dict(type='RandomResize', scale=(4096, 1024), ratio_range=(1.0, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackUDAInputs')
        ]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=iterations)
]
train_cfg = dict(type='ExactResumeTrainLoop', max_iters=iterations)
label_audit = None  # images alone
