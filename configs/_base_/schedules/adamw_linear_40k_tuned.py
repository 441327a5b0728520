# For tuned backbones: rate and weight decay of SoMA (Yun et al., CVPR 2025), half the rate in the backbone.
_base_ = ['./linear_40k_vfm.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'student.backbone': dict(lr_mult=0.5)}))
