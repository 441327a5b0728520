# Cityscapes as the target; its pipelines depend on the resolution.
_base_ = ['./loaders.py']

target_train = dict(
    type='CityscapesDataset', data_root='data/cityscapes', data_prefix=dict(img_path='leftImg8bit/train'))
target_val = dict(
    type='CityscapesDataset',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'))
train_dataloader = dict(dataset=dict(target=target_train))
val_dataloader = dict(dataset=target_val)
test_dataloader = dict(dataset=target_val)
