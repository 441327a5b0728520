# The shift between domains as the noise: beside ClassMix, the denoiser of CICLD's head restores the teacher's latent of the
# clean image from the student's of one with hidden blocks and other colours, for both domains.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
    dict(type='LatentRestoration', degradation=dict(type='MaskDegradation', block=32)),
]
