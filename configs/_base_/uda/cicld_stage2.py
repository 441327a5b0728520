# CICLD (Yu et al., 2024), stage 2 of its second version: the denoiser alone, by the noise loss over the latents of all
# domains and against a discriminator of three domains.
teacher = dict(momentum=0.999)
train_only = ['decode_head.denoiser']
objectives = [
    dict(type='LatentDomainAlignment', domains=3, input='clean', weight=0.01, noise_weight=1.0, source=None, mixed=None,
         mixing=dict(threshold=0.968)),
]
