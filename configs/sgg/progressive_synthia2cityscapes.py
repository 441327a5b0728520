# SGG + PTL (Peng et al., ICCV 2023): SYNTHIA to Cityscapes in three rounds, each guided by the segmentor that learned
# from the round before. The paper's number of rounds, levels and lengths are not known; these are ours.
# python tools/progressive_translation.py configs/sgg/progressive_synthia2cityscapes.py --work-dir work_dirs/ptl_synthia
_base_ = ['./translation_synthia2cityscapes.py']

progressive = dict(
    training='configs/source_only/source-only_mit-b5_1xb2-40k_synthia2cityscapes-512x512.py',
    share=1.0,  # translated images alone
    rounds=[
        dict(level=0.2, iterations=10000),
        dict(level=0.35, iterations=10000),
        dict(level=0.5, iterations=0),
    ])
