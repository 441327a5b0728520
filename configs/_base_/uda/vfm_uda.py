# VFM-UDA++ (Englert and Dubbelman, ICCVW 2025): strong changes of colour on source images, ClassMix and masked images
# with pseudo-labels of an image and its mirror image, and features of both domains drawn to those of a frozen DINOv2-L.
# Margins without pseudo-labels come with the data, as shares of the image.
teacher = dict(momentum=0.999, flip=True)
strong_augmentation = dict(
    type='PhotometricAugmentation', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4, jitter_probability=0.8,
    grey_probability=0.1, blur_probability=0.5, blur_sigma=(0.15, 3.0))
weak_augmentation = dict(
    type='PhotometricAugmentation', brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360,
    jitter_probability=0.9, grey_probability=0.0, blur_probability=0.0)
mix_augmentation = dict(
    type='PhotometricAugmentation', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2, jitter_probability=0.8,
    grey_probability=0.0, blur_probability=0.5, blur_sigma=(0.15, 1.15))
# Weights: Apache-2.0. The architecture stands here so that nothing is asked for before training.
frozen_network = dict(
    type='TransformersBackbone',
    model=dict(model_type='dinov2_with_registers', hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
               image_size=518, patch_size=14, num_register_tokens=4),
    weights='facebook/dinov2-with-registers-large',
    out_indices=(23, ))
objectives = [
    dict(type='SourceSupervision', augmentation=strong_augmentation, avg_non_ignore=True),
    dict(type='ClassMixSelfTraining', threshold=0.968, augmentation=mix_augmentation,
         target_augmentation=weak_augmentation),
    # Published are blocks of 64 on images enlarged to 1120, which are 18 x 18. So are these on crops of 1024.
    dict(type='MaskedConsistency', block=57, ratio=0.7, threshold=0.968, augment=mix_augmentation),
    dict(type='FoundationFeatureDistance', network=frozen_network, out_channels=1024, size=(406, 406),
         source_weight=0.1, target_weight=0.1, smooth_l1=0.1, cosine=0.9, augmentation=weak_augmentation),
]
rare_class_sampling = dict(min_pixels=3000, class_temp=0.05, min_crop_ratio=2.0)
