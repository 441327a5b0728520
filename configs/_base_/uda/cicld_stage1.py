# CICLD (Yu et al., 2024), stage 1 of its second version: encoder, neck and decoder learn from source and ClassMix
# images, the denoiser from the noise loss of the head.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
]
