# Training on labelled source images alone with the changes of colour of VFM-UDA++: the bar that its adaptation has to
# beat with the same network.
teacher = None
objectives = [
    dict(type='SourceSupervision', avg_non_ignore=True, augmentation=dict(
        type='PhotometricAugmentation', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4, jitter_probability=0.8,
        grey_probability=0.1, blur_probability=0.5, blur_sigma=(0.15, 3.0))),
]
rare_class_sampling = dict(min_pixels=3000, class_temp=0.05, min_crop_ratio=2.0)
