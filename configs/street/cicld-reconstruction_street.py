# The denoiser has a second task, told by its switch: without labels, it reconstructs latents of images of both domains.
_base_ = ['./cicld-restoration_street.py']

model = dict(
    segmentor=dict(decode_head=dict(denoiser=dict(num_class_embeds=2))),
    objectives=_base_.model.objectives[:2] + [dict(_base_.restored, task='reconstruction')])
