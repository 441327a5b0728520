# Few target labels: DACS from GTA5 and an eighth of the labels of Cityscapes to all images of Cityscapes. Every second
# source image is a labelled image of Cityscapes.
_base_ = ['./dacs_mit-b5_1xb2-40k_cityscapes-1-8-512x512.py']

gta = dict(
    type='GTADataset',
    data_root='data/gta',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='LoadLabelStrictly'),
        dict(type='Resize', scale=(1280, 720), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackUDAInputs')
    ])
train_dataloader = dict(dataset=dict(source=dict(
    _delete_=True,
    type='WeightedConcatDataset',
    datasets=[gta, _base_.labelled],
    weights=[1, 1])))
