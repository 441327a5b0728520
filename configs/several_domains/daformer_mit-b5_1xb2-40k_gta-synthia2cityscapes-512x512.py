# DAFormer with MiT-B5 from two sources, GTA5 and SYNTHIA, to Cityscapes: three images of GTA5 to one of SYNTHIA, whose
# labels lack three of the 19 classes.
_base_ = ['../daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512.py']

synthia = dict(
    type='SYNTHIADataset',
    data_root='data/synthia',
    data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
    pipeline=[
        dict(type='LoadImageStrictly'),
        dict(type='LoadLabelStrictly'),
        dict(type='Resize', scale=(1280, 760), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackUDAInputs')
    ])
train_dataloader = dict(dataset=dict(source=dict(
    _delete_=True,
    type='WeightedConcatDataset',
    datasets=[_base_.source_train, synthia],
    weights=[3, 1])))
