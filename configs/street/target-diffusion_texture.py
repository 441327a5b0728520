# The diffusion model of the street set with images of the target of the pair `texture`.
_base_ = ['./target-diffusion_street.py']

target_train = dict(
    type='FolderDataset',
    data_root='data/texture/target',
    data_prefix=dict(img_path='images/train'),
    metainfo=dict(classes='data/texture/classes.json'))
train_dataloader = dict(dataset=dict(target=target_train))
