# CICLD (Yu et al., 2024) in one stage, as in its first version: ClassMix with pseudo-labels, the noise loss of the
# head, and the adversary of three domains on the estimate of the clean latent.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
    dict(type='LatentDomainAlignment', domains=3, input='clean', weight=0.01),
]
