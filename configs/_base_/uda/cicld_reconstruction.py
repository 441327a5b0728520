# A second task for a denoiser with a switch (Lotus-D, He et al., ICLR 2025): from images of both domains, without labels, it
# reconstructs the teacher's latent of the clean image, beside what the decoder reads.
_base_ = ['./cicld_restoration.py']
objectives = [
    *_base_.objectives[:2],
    dict(_base_.objectives[2], task='reconstruction'),
]
