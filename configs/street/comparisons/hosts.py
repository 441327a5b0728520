# MRM, BLDA and MaskTwins on DAFormer: each alone, all pairs, and the three together.
_base_ = ['./short.py']

street, start = 'configs/street/', 'source only'  # as in methods.py: in one --work-dir it is trained once
added = {
    'MRM': dict(type='MaskedRepresentationModeling', cell=8, width=128, heads=4),
    'BLDA': dict(type='BalancedLogits', min_pixels=50, warmup=50, samples=2048),
    'MaskTwins': dict(type='ComplementaryMasking', block=8),
}
daformer = [
    dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes='things', min_ratio=0.75)),
    dict(type='ClassMixSelfTraining', threshold=0.968),
]
reference = 'DAFormer'
stacks = [(), ('MRM', ), ('BLDA', ), ('MaskTwins', ), ('MRM', 'BLDA'), ('MRM', 'MaskTwins'), ('BLDA', 'MaskTwins'),
          ('MRM', 'BLDA', 'MaskTwins')]
rows = [
    dict(name=start, config=f'{street}source_only_street.py', options=_base_.source_only),
    *(dict(name=' + '.join(('DAFormer', *stack)), config=f'{street}daformer_street.py', begin_with=start,
           options={'model.objectives': daformer + [added[name] for name in stack]}) for stack in stacks),
]
