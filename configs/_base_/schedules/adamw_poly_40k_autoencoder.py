# The paper's rate, and the betas that the published autoencoders were trained with against their discriminator.
_base_ = ['./poly_40k.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.5, 0.9), weight_decay=0.0))
