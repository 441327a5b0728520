# Masked features: beside ClassMix, the denoiser of CICLD's head fills hidden places of the latents of target images, and is
# used for nothing else.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
    dict(type='MaskedRepresentationModeling', rebuilder='denoiser', cell=32),
]
