# The optimiser of VFM-UDA++ for a vision transformer: weight decay everywhere; a tenth of the rate in the last block,
# 0.9 of that a block further down, the embeddings last. The rate is 5e-5 times the root of the source images of a step
# on all GPUs, here 8 (4 x 2).
_base_ = ['./linear_40k_vfm.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='LearningRateDecayOptimizerConstructor',
    optimizer=dict(type='AdamW', lr=5e-5 * 8**0.5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(decay_type='layer_wise', decay_rate=0.9, backbone_scale=0.1, decay_all=True))
