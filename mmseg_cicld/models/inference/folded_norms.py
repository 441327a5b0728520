"""Batch norms of a network that only predicts, folded into the convolutions in front of them."""
from itertools import pairwise

import torch
from mmcv.cnn import ConvModule
from mmseg.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

IN_ORDER = (nn.Sequential, BasicBlock, Bottleneck, ResNet)
"""Modules that hold their convolutions and norms in the order in which they run; others may hold them in any order."""


def fold_norms(network: nn.Module) -> int:
    """Folds each batch norm that directly follows its convolution into that convolution's weights, in place.

    The products are taken in double precision, so that a folded convolution differs from the pair by the rounding of
    its own sum (1e-6 of its values).

    Args:
        network: In evaluation mode.

    Returns:
        How many norms were folded.
    """
    folded = 0
    for module in list(network.modules()):
        in_order = isinstance(module, IN_ORDER) or (isinstance(module, ConvModule) and module.order[:2] == ('conv', 'norm'))
        if not in_order:
            continue
        for (_, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                _fold(convolution, norm)
                setattr(module, name, nn.Identity())
                folded += 1
    return folded


def is_folded(module: ConvModule) -> bool:
    """Tells whether a convolution has no norm behind it, or one that was folded."""
    return module.norm_name is None or isinstance(getattr(module, module.norm_name), nn.Identity)


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: _BatchNorm) -> None:
    scale_C = (norm.running_var.double() + norm.eps).rsqrt()
    shift_C = -norm.running_mean.double() * scale_C
    if norm.affine:
        scale_C, shift_C = scale_C * norm.weight.double(), shift_C * norm.weight.double() + norm.bias.double()
    weight = convolution.weight
    if convolution.bias is not None:
        shift_C = shift_C + convolution.bias.double() * scale_C
    convolution.weight = nn.Parameter((weight.double() * scale_C[:, None, None, None]).to(weight), requires_grad=False)
    convolution.bias = nn.Parameter(shift_C.to(weight), requires_grad=False)
