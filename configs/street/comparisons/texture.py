# The pair `texture` in place of the street set: what all rows need, and what rows of a kind need besides.
# Made by: python tools/dataset_converters/render_pair.py texture data/texture
names = dict(classes='data/texture/classes.json')
source = dict(type='FolderDataset', data_root='data/texture/source', metainfo=names,
              data_prefix=dict(img_path='images/train', seg_map_path='labels/train'))
validation = dict(
    type='FolderDataset', data_root='data/texture/target', metainfo=names,
    data_prefix=dict(img_path='images/val', seg_map_path='labels/val'))
texture = {
    'model.segmentor.decode_head.num_classes': 8,
    'train_dataloader.dataset.source': source,
    'val_dataloader.dataset': validation,
    'test_dataloader.dataset': validation,
}
texture_target = {
    'train_dataloader.dataset.target': dict(
        type='FolderDataset', data_root='data/texture/target', metainfo=names,
        data_prefix=dict(img_path='images/train')),
}
texture_upper_bound = {'train_dataloader.dataset.source.data_root': 'data/texture/target'}
texture_things = {'model.objectives.0.feature_distance.classes': [2, 3, 4, 5, 6, 7]}  # all but wall and table
