# DACS: SegFormer's head.
_base_ = ['./base.py', '../_base_/uda/dacs.py']

model = dict(
    _delete_=True,
    type='ClassMixEMA',
    segmentor={{_base_.model}},
    teacher={{_base_.teacher}},
    objectives={{_base_.objectives}})
