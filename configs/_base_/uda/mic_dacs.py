# MIC (Hoyer et al., CVPR 2023) with DACS: target images with hidden blocks, taught by pseudo-labels of the whole.
teacher = dict(momentum=0.99)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
    dict(type='MaskedConsistency', block=32, ratio=0.7, threshold=0.968),
]
