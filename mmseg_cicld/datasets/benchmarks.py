"""Public datasets that mmseg does not have, in the folder layouts that their converters write.

Cityscapes (``CityscapesDataset``) and Dark Zurich (``DarkZurichDataset``) are mmseg's own classes.
"""
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class GTADataset(CityscapesDataset):
    """GTA5 (Richter et al., ECCV 2016): ``images/00001.png``, ``labels/00001_labelTrainIds.png``, 19 classes."""

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '_labelTrainIds.png',
                 **kwargs: object) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class SYNTHIADataset(CityscapesDataset):
    """SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016): ``RGB/*.png``, ``GT/LABELS/*_labelTrainIds.png``.

    It has the 19 Cityscapes classes without terrain, truck and train, which no label shows. Methods are scored
    over the other 16 and over 13 of them (without wall, fence, pole): see :class:`SubsetIoUMetric`.
    """

    def __init__(self, img_suffix: str = '.png', seg_map_suffix: str = '_labelTrainIds.png',
                 **kwargs: object) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class ACDCDataset(CityscapesDataset):
    """ACDC (Sakaridis et al., ICCV 2021): ``rgb_anon/train``, ``gt/train``, all four conditions together."""

    def __init__(self, img_suffix: str = '_rgb_anon.png', seg_map_suffix: str = '_gt_labelTrainIds.png',
                 **kwargs: object) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
