# CICLD (Yu et al., 2024) in the training of MIC with HRDA; the latents that are aligned are those of the context.
_base_ = ['./mic_hrda.py']
objectives = _base_.objectives + [dict(type='LatentDomainAlignment', domains=3, input='clean', weight=0.01)]
