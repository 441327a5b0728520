# Cityscapes -> Dark Zurich (night): source 2048x1024, target 1920x1080.
# Data: python tools/dataset_converters/cityscapes.py data/cityscapes
#       python tools/dataset_converters/dark_zurich.py data/dark_zurich
_base_ = ['./parts/cityscapes2adverse-1024x1024.py', './parts/score.py']

target_train = dict(
    type='DarkZurichDataset', data_root='data/dark_zurich', data_prefix=dict(img_path='rgb_anon/train/night'))
target_val = dict(
    type='DarkZurichDataset',
    data_root='data/dark_zurich',
    data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'))
train_dataloader = dict(dataset=dict(target=target_train))
val_dataloader = dict(dataset=target_val)
test_dataloader = dict(dataset=target_val)
