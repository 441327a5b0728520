# MIC (Hoyer et al., CVPR 2023) with HRDA from clear to adverse conditions: blocks are hidden in a source and a target
# image, without colour augmentation.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75)),
    dict(type='ClassMixSelfTraining', threshold=0.968),
    dict(type='MaskedConsistency', block=64, ratio=0.7, images='both', augment=False, threshold=0.968),
]
rare_class_sampling = dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=2.0)
