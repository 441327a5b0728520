# SGG + PTL on the street set: three rounds, each guided by the segmentor that learned from the round before.
# python tools/progressive_translation.py configs/street/sgg_progressive.py --work-dir work_dirs/progressive_street
_base_ = ['./sgg_translation.py']

progressive = dict(
    training='configs/street/sgg-fine-tuning_street.py',
    share=1.0,  # translated images alone
    rounds=[
        dict(level=0.1, iterations=100, options={'translation.steps': 2}),
        dict(level=0.2, iterations=100, options={'translation.steps': 4}),
        dict(level=0.3, iterations=0),
    ])
