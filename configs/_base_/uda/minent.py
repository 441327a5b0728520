# MinEnt of ADVENT (Vu et al., CVPR 2019): low entropy of target predictions.
teacher = None
objectives = [
    dict(type='SourceSupervision'),
    dict(type='EntropyMinimisation', weight=0.001),
]
