# Adaptation of a trained segmentor to unlabelled images, without its source data: confident pixels of an EMA teacher,
# hidden blocks (MIC), and class balance (SHOT, Liang et al., ICML 2020) against collapse.
teacher = dict(momentum=0.999)
objectives = [
    dict(type='TargetSelfTraining', threshold=0.9),
    dict(type='MaskedConsistency', block=32, ratio=0.7, threshold=0.9),
    dict(type='ClassBalance', weight=0.1),
]
custom_hooks = [dict(type='CollapseHook', interval=50)]
