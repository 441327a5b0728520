# SGG (Peng et al., ICCV 2023): SYNTHIA translated to the look of Cityscapes, guided by its labels. Images are
# translated at the size at which they are trained on, in tiles of the size that the diffusion model has learned.
# python tools/translate_dataset.py configs/sgg/translation_synthia2cityscapes.py --output data/synthia_as_cityscapes
_base_ = ['../_base_/datasets/synthia2cityscapes-512x512.py']

source = {{_base_.source_train}}
diffusion = 'work_dirs/target-diffusion_latent_1xb8-200k_cityscapes-512x1024/diffusion'
segmentor = dict(
    config='configs/source_only/source-only_mit-b5_1xb2-40k_synthia2cityscapes-512x512.py',
    checkpoint='work_dirs/source-only_mit-b5_1xb2-40k_synthia2cityscapes-512x512/iter_40000.pth')
translation = dict(level=0.5, steps=50)
guidance = dict(local_scale=0.03, global_scale=0.03, order='alternate')
batch_size = 4
working_size = (768, 1280)
tile = dict(size=(512, 1024), overlap=128)
dtype = 'bfloat16'
report = dict(rows=8)
