# AdaptSegNet (Tsai et al., CVPR 2018), single level: adversarial alignment of the predictions.
teacher = None
objectives = [
    dict(type='SourceSupervision'),
    dict(type='OutputSpaceAdversarial', weight=0.001),
]
