# SGG on the street set: the source images are translated by the target's diffusion model, guided by their labels.
# python tools/train.py configs/street/target-diffusion_street.py
# python tools/translate_dataset.py configs/street/sgg_translation.py --output work_dirs/translated_street
_base_ = ['../_base_/datasets/street.py']

source = {{_base_.source_train}}
diffusion = 'work_dirs/target-diffusion_street/diffusion'
segmentor = dict(
    config='configs/street/source_only_street.py',
    checkpoint='work_dirs/source_only_street/iter_300.pth')
translation = dict(level=0.3, steps=6)
# The gradient stops at the estimate of the clean image: half the time, no less label agreement. 'sample' is the paper's.
guidance = dict(local_scale=0.01, global_scale=0.01, order='alternate', through='estimate')
batch_size = 4
dtype = 'auto'  # bfloat16 on a device with units for it
# The adapted network neither guides nor filters: it judges, and describes images for the distance.
judge = dict(
    config='configs/quickstart/adapt_street.py', checkpoint='work_dirs/adapt_street/iter_300.pth')
report = dict(segmentor=judge, features=judge, target={{_base_.target_train}}, rows=8)
