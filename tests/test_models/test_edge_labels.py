"""Labels of edges are those that mmseg makes: by its transform for PIDNet, inside its head for STDC."""
import numpy as np
import pytest
import torch
from head_cases import IGNORE, build, labels
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample

from mmseg_cicld.models.edge_labels import PIDNET_EDGE_WIDTH, edges, stdc_boundaries


def noise(ignore=IGNORE):
    labels_BHW = torch.randint(0, 3, (2, 11, 14), generator=torch.Generator().manual_seed(0))
    labels_BHW = labels_BHW.repeat_interleave(3, 1).repeat_interleave(3, 2)
    labels_BHW[:, 5:12, 7:20] = ignore
    return labels_BHW


@pytest.mark.parametrize('width', [1, 2, 3, PIDNET_EDGE_WIDTH, 5])
@pytest.mark.parametrize('ignore', [IGNORE, 0])
def test_edges_are_those_of_the_transform(width, ignore):
    labels_BHW = noise(ignore)
    transform = TRANSFORMS.build(dict(type='GenerateEdge', edge_width=width, ignore_index=ignore))
    for label_HW, found_HW in zip(labels_BHW, edges(labels_BHW, ignore, width)):
        seg_map = label_HW.numpy().astype(np.uint8)
        expected = transform(dict(img_shape=seg_map.shape, gt_seg_map=seg_map))['gt_edge_map']
        assert np.array_equal(found_HW.numpy(), expected)
        assert 0 < found_HW.float().mean() < 1


def test_the_width_is_that_of_mmsegs_pidnet():
    assert PIDNET_EDGE_WIDTH == 4


@pytest.mark.parametrize('labels_BHW', [labels(), noise()])
def test_boundaries_are_those_that_the_head_trains_on(monkeypatch, labels_BHW):
    head, seen = build('STDCHead'), []
    monkeypatch.setattr(BaseDecodeHead, 'loss_by_feat', lambda self, logits, samples: seen.extend(samples) or {})
    head.loss_by_feat(None, [SegDataSample(gt_sem_seg=PixelData(data=label_HW[None])) for label_HW in labels_BHW])
    expected = torch.stack([sample.gt_sem_seg.data for sample in seen])[:, 0]
    found = stdc_boundaries(head, labels_BHW)
    assert torch.equal(found, expected)
    assert set(found.unique().tolist()) == {0, 1}
