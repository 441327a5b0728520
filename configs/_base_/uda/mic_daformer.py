# MIC (Hoyer et al., CVPR 2023) with DAFormer: target images with hidden blocks, taught by pseudo-labels of the whole.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75)),
    # The margins hold for crops of the full image height (512 of 512 rows): sky above, the bonnet below.
    dict(type='ClassMixSelfTraining', threshold=0.968, ignore_top=15, ignore_bottom=120),
    dict(type='MaskedConsistency', block=32, ratio=0.7, threshold=0.968, ignore_top=15, ignore_bottom=120),
]
rare_class_sampling = dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=0.5)
