# Quick start, first half: labelled source images alone. Sampling and augmentation of the source images are those of
# the adaptation, so that the difference between the two comes from the target images.
_base_ = ['./small_segmentor.py', '../_base_/datasets/street.py', '../_base_/uda/source_only.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
train_dataloader = dict(
    batch_size=8, dataset=dict(target=None, rare_class_sampling={{_base_.rare_class_sampling}}))
val_dataloader = dict(batch_size=10)
test_dataloader = dict(batch_size=10)
