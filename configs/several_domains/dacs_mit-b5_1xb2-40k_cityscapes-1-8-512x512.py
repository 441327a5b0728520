# Semi-supervised: DACS with an eighth of the labels of Cityscapes as its source and all its images as the target.
# The list of labelled images: python tools/dataset_converters/label_split.py data/cityscapes/leftImg8bit/train
#     --suffix _leftImg8bit.png --share 1/8 --seed 0 --labelled data/cityscapes/labelled_1-8_0.txt
_base_ = ['../dacs/dacs_mit-b5_1xb2-40k_gta2cityscapes-512x512.py']

source_pipeline = [
    dict(type='LoadImageStrictly'),
    dict(type='LoadLabelStrictly'),
    dict(type='Resize', scale=(1024, 512), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackUDAInputs')
]
labelled = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    ann_file='labelled_1-8_0.txt',
    pipeline=source_pipeline)
train_dataloader = dict(dataset=dict(source=dict(_delete_=True, **labelled)))
