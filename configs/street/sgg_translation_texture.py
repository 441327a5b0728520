# SGG on the pair `texture`. Guide and judge are trained by the comparison that the translated images are for:
# python tools/train.py configs/street/target-diffusion_texture.py
# python tools/analysis_tools/compare_methods.py configs/street/comparisons/sgg_texture.py --rows "source only" DAFormer
# python tools/translate_dataset.py configs/street/sgg_translation_texture.py --output work_dirs/sgg_texture/both
_base_ = ['./sgg_translation.py']

names = dict(classes='data/texture/classes.json')
source = dict(
    type='FolderDataset', data_root='data/texture/source', metainfo=names,
    data_prefix=dict(img_path='images/train', seg_map_path='labels/train'))
target = dict(
    type='FolderDataset', data_root='data/texture/target', metainfo=names, data_prefix=dict(img_path='images/train'))
# Whole images, three times as high as the crops that the model has learned from.
tile = dict(size=(192, 256), overlap=0)
diffusion = 'work_dirs/target-diffusion_texture/diffusion'
trained = 'work_dirs/comparisons/sgg_texture'
segmentor = dict(
    config=f'{trained}/source_only/seed_0/training.py', checkpoint=f'{trained}/source_only/seed_0/iter_300.pth')
# With the street set's 0.01 guidance paints patterns that segmentors take for the class (configs/sgg/README.md).
guidance = dict(local_scale=0.001, global_scale=0.001)
judge = dict(config=f'{trained}/DAFormer/seed_0/training.py', checkpoint=f'{trained}/DAFormer/seed_0/iter_200.pth')
report = dict(segmentor=judge, features=judge, target=target)
