# Cityscapes -> ACDC: source 2048x1024, target 1920x1080.
# Data: python tools/dataset_converters/cityscapes.py data/cityscapes
#       python tools/dataset_converters/acdc.py data/acdc
_base_ = ['./parts/cityscapes2adverse-1024x1024.py', './parts/score.py']

target_train = dict(type='ACDCDataset', data_root='data/acdc', data_prefix=dict(img_path='rgb_anon/train'))
target_val = dict(
    type='ACDCDataset',
    data_root='data/acdc',
    data_prefix=dict(img_path='rgb_anon/val', seg_map_path='gt/val'))
train_dataloader = dict(dataset=dict(target=target_train))
val_dataloader = dict(dataset=target_val)
test_dataloader = dict(dataset=target_val)
