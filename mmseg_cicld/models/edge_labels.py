"""Label maps of edges between classes, for heads that learn them beside the classes.

Shape suffixes: B images, H and W height and width.
"""
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import STDCHead
from torch import Tensor

# What mmseg's PIDNet configs give to GenerateEdge.
PIDNET_EDGE_WIDTH = 4


def edges(labels_BHW: Tensor, ignore_index: int, width: int = PIDNET_EDGE_WIDTH) -> Tensor:
    """Marks pixels near a change of class, as mmseg's transform ``GenerateEdge`` does.

    Args:
        labels_BHW: int64 class ids.
        ignore_index: Label whose borders are no edges.
        width: Width of an edge in pixels.

    Returns:
        int64 [B, H, W], 1 at edges and 0 elsewhere.
    """
    edge_BHW = torch.zeros_like(labels_BHW, dtype=torch.float32)
    rows, columns = labels_BHW.shape[1:]
    up, down, left, right = slice(0, rows - 1), slice(1, rows), slice(0, columns - 1), slice(1, columns)
    every = slice(None)
    # The pixel that is marked, and the neighbour that differs from it.
    pairs = (((down, every), (up, every)), ((every, left), (every, right)), ((up, left), (down, right)),
             ((up, right), (down, left)))
    for (marked_rows, marked_columns), (other_rows, other_columns) in pairs:
        marked, other = labels_BHW[:, marked_rows, marked_columns], labels_BHW[:, other_rows, other_columns]
        differs = (marked != other) & (marked != ignore_index) & (other != ignore_index)
        edge_BHW[:, marked_rows, marked_columns].masked_fill_(differs, 1)
    before, after = width // 2, width - 1 - width // 2
    return F.max_pool2d(F.pad(edge_BHW, (before, after, before, after)), width, stride=1).long()


def stdc_boundaries(head: STDCHead, labels_BHW: Tensor) -> Tensor:
    """Marks boundaries seen at three scales (detail aggregation of STDC, Fan et al., CVPR 2021, section 3.3).

    Args:
        head: The head, for its kernels and threshold.
        labels_BHW: int64 class ids.

    Returns:
        int64 [B, H, W], 1 at boundaries and 0 elsewhere. As in mmseg, the border of an ignored region is one.
    """
    labels_B1HW = labels_BHW[:, None].to(head.laplacian_kernel)
    scales = []
    for stride in (1, 2, 4):
        change = F.conv2d(labels_B1HW, head.laplacian_kernel, stride=stride, padding=1)
        change = F.interpolate(change, labels_BHW.shape[1:], mode='nearest')
        scales.append((change > head.boundary_threshold).to(head.fusion_kernel))
    fused_B1HW = F.conv2d(torch.cat(scales, dim=1), head.fusion_kernel)
    return (fused_B1HW[:, 0] > head.boundary_threshold).long()
