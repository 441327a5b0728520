# HRDA (Hoyer et al., ECCV 2022): DAFormer's training on crops of 1024 x 1024. They lie anywhere in the image, so that
# margins without pseudo-labels come with the data, not as rows of the crop.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75)),
    dict(type='ClassMixSelfTraining', threshold=0.968),
]
rare_class_sampling = dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=2.0)
