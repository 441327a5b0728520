# CICLD's network and training without the denoiser.
_base_ = ['./cicld-stage1_street.py']

model = dict(segmentor=dict(decode_head=dict(denoiser=None)))
