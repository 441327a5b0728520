"""Images of one domain put together: what is padded is of no class, may not be used, and is not real."""
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cicld.uda.domain_batch import domain_batch

SIZE, SMALLER = (64, 128), (40, 96)


def sample(size: tuple[int, int]) -> SegDataSample:
    return SegDataSample(metainfo=dict(img_path='a.png', img_shape=size, ori_shape=size),
                         gt_sem_seg=PixelData(data=torch.full((1, *size), 3)),
                         valid_pseudo_mask=PixelData(data=torch.ones(1, *size)))


def test_maps_are_padded_with_their_images_and_what_is_added_is_never_used():
    preprocessor = MODELS.build(dict(type='SegDataPreProcessor', size=SIZE, seg_pad_val=255))
    data = dict(inputs=[torch.zeros(3, *size, dtype=torch.uint8) for size in (SIZE, SMALLER)],
                data_samples=[sample(size) for size in (SIZE, SMALLER)])
    found = domain_batch(data, preprocessor)
    inside_BHW = torch.ones(2, *SIZE, dtype=torch.bool)
    inside_BHW[1, SMALLER[0]:], inside_BHW[1, :, SMALLER[1]:] = False, False
    assert torch.equal(found.labels_BHW, torch.where(inside_BHW, 3, 255))
    assert torch.equal(found.valid_B1HW[:, 0].bool(), inside_BHW)
    assert torch.equal(found.real_BHW, inside_BHW) and found.images_BCHW.shape == (2, 3, *SIZE)
