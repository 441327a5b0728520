# SGG: GTA5 translated to the look of Cityscapes.
# python tools/translate_dataset.py configs/sgg/translation_gta2cityscapes.py --output data/gta_as_cityscapes
_base_ = ['../_base_/datasets/gta2cityscapes-512x512.py', '../_base_/sgg_translation.py']

source = {{_base_.source_train}}
segmentor = dict(
    config='configs/source_only/source-only_mit-b5_1xb2-40k_gta2cityscapes-512x512.py',
    checkpoint='work_dirs/source-only_mit-b5_1xb2-40k_gta2cityscapes-512x512/iter_40000.pth')
working_size = (704, 1280)
