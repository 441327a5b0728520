# Pre-training of the latent denoiser on source and target images: the noise loss (Eq. 6) alone, labels are not used.
teacher = None
train_only = ['decode_head.denoiser']
objectives = [dict(type='LatentDomainAlignment', domains=2, weight=None, noise_weight=1.0, source=None)]
