# Schedule of the adversarial and entropy baselines as published with HRDA and MIC: SGD, one rate for all.
_base_ = ['./poly_40k.py']

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.0025, momentum=0.9, weight_decay=5e-4))
