# DACS (Tranheden et al., WACV 2021): ClassMix with pseudo-labels of an EMA teacher.
teacher = dict(momentum=0.99)
objectives = [
    dict(type='SourceSupervision'),
    dict(type='ClassMixSelfTraining', threshold=0.968),
]
