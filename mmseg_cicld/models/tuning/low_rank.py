"""Low-rank changes of weights (LoRA, Hu et al., ICLR 2022), on the layers of any network, under its own tensor names.

peft is not used for it, for three things that the networks here do. BEiT, and every ``nn.MultiheadAttention``, reads the
weights of its layers instead of calling them, and peft's layers show the frozen weight to whoever reads it, so nothing
would be learnt. Its own layer for ``nn.MultiheadAttention`` makes new, rounded frozen weights in every forward pass, in
place of the parameters that the optimiser, DDP and a teacher hold. And it renames the frozen weights, so that neither
``init_cfg`` nor a published checkpoint finds them. Forward pass and merged weights are tested against peft's.

Shape suffixes: O output, I input and R rank channels of a weight; B batch, C channels, H and W size.
"""
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn
from torch.nn import functional as F

from ...sharded_tensors import is_part

_FORWARDS = (nn.Linear.forward, nn.Conv2d.forward, wrappers.Linear.forward, wrappers.Conv2d.forward)


class LowRank(nn.Module):
    """The change ``scale * (B A - B0 A0)`` of a frozen weight.

    ``B0 A0`` is what the change starts with, so at the start there is none, to the bit. LoRA starts with B = 0, and has
    no ``B0 A0``. SoMA (Yun et al., CVPR 2025) starts with the part of the weight W along its smallest singular
    directions, ``scale * B0 A0``, and adds to the frozen residual ``W - scale * B0 A0``: here the residual is not stored,
    and W stays what it was loaded as.

    Args:
        weight_OI: The frozen weight, or one of a 1x1 convolution, float [O, I, 1, 1].
        rank: Rank R of the change.
        scale: Factor of the change, alpha / rank.
        smallest: Whether the change starts along the smallest singular directions, see :meth:`start`.
    """

    def __init__(self, weight_OI: Tensor, rank: int, scale: float, smallest: bool) -> None:
        super().__init__()
        self.scale, self.enabled = scale, True
        outputs, inputs = weight_OI.shape[:2]
        self.A_RI = nn.Parameter(weight_OI.new_zeros(rank, inputs))
        self.B_OR = nn.Parameter(weight_OI.new_zeros(outputs, rank))
        self.start_A_RI = nn.Parameter(torch.zeros_like(self.A_RI), requires_grad=False) if smallest else None
        self.start_B_OR = nn.Parameter(torch.zeros_like(self.B_OR), requires_grad=False) if smallest else None
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Starts as LoRA does, with A uniform (Kaiming, a = sqrt(5)) and B = 0; what :meth:`start` sets is zero."""
        for parameter in self.parameters():
            parameter.zero_()
        if self.start_A_RI is None:
            nn.init.kaiming_uniform_(self.A_RI, a=math.sqrt(5))

    @property
    def due(self) -> bool:
        """Whether :meth:`start` has still to be called before it can learn."""
        return self.start_A_RI is not None and not bool(self.start_A_RI.any())

    @torch.no_grad()
    def start(self, weight_OI: Tensor) -> None:
        """Starts along the smallest singular directions of the weight: ``scale * B A = U_r S_r V_r^T``."""
        U, S, Vh = torch.linalg.svd(weight_OI.flatten(1).float(), full_matrices=False)
        rank = len(self.A_RI)
        root = (S[-rank:] / self.scale).sqrt()
        self.get_parameter('start_B_OR').copy_(U[:, -rank:] * root)
        self.get_parameter('start_A_RI').copy_(root[:, None] * Vh[-rank:])
        self.start_as_copy()

    @torch.no_grad()
    def start_as_copy(self) -> None:
        """Makes the change that of the start."""
        if self.start_A_RI is not None:
            self.A_RI.copy_(self.start_A_RI)
            self.B_OR.copy_(self.start_B_OR)

    def applied(self, weight_OI: Tensor) -> Tensor:
        """Returns the changed weight, in its own precision also under autocast; itself while not ``enabled``.

        So is the part of a weight that FSDP looks at between steps: while a layer computes, it has the whole.
        """
        if not self.enabled or is_part(weight_OI):
            return weight_OI
        with _without_autocast(weight_OI.device.type):
            change_OI = self.B_OR @ self.A_RI
            if self.start_A_RI is not None:
                change_OI = change_OI - self.start_B_OR @ self.start_A_RI
            return weight_OI + (self.scale * change_OI).view_as(weight_OI)

    def change(self, x: Tensor, layer: Callable[[Tensor, Tensor], Tensor] = F.linear) -> Tensor:
        """Returns what is added to the output of a layer, ``scale * (B A - B0 A0) x``.

        Args:
            x: The input of the layer.
            layer: Applies a weight [O, I] to an input as the layer does.
        """
        change = layer(layer(x, self.A_RI), self.B_OR)
        if self.start_A_RI is not None:
            change = change - layer(layer(x, self.start_A_RI), self.start_B_OR)
        return self.scale * change


class LowRankLinear(nn.Linear):
    """A linear layer with a :class:`LowRank` change.

    In training the change of the output is computed, which needs no gradient of the size of the weight. In evaluation,
    and for whoever reads ``weight``, it is the changed weight: bitwise what the merged layer computes.
    """

    @property
    def weight(self) -> Tensor:
        """The changed weight."""
        return self.low_rank.applied(self._parameters['weight'])

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output of the changed layer."""
        if not self.training or not self.low_rank.enabled:
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self._parameters['weight'], self.bias) + self.low_rank.change(x)


class LowRankPointwise(nn.Conv2d):
    """A 1x1 convolution with a :class:`LowRank` change, as :class:`LowRankLinear`."""

    @property
    def weight(self) -> Tensor:
        """The changed weight."""
        return self.low_rank.applied(self._parameters['weight'])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the output of the changed layer."""
        if not self.training or not self.low_rank.enabled:
            return F.conv2d(x_BCHW, self.weight, self.bias)
        return F.conv2d(x_BCHW, self._parameters['weight'], self.bias) + self.low_rank.change(x_BCHW, _pointwise)


class LowRankAttention(nn.MultiheadAttention):
    """Attention whose joint projection to queries, keys and values has a :class:`LowRank` change."""

    @property
    def in_proj_weight(self) -> Tensor:
        """The changed weight."""
        return self.low_rank.applied(self._parameters['in_proj_weight'])


_CHANGED = {nn.MultiheadAttention: LowRankAttention, nn.Linear: LowRankLinear, nn.Conv2d: LowRankPointwise}


def low_rank_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Returns the layers of a network that can have a low-rank change, by name; ``NAME.in_proj`` is that of attention."""
    found: dict[str, nn.Module] = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            found[f'{name}.in_proj'] = part
        elif isinstance(part, (nn.Linear, nn.Conv2d)) and type(part).forward in _FORWARDS and _is_pointwise(part):
            found[name] = part
    return found


def add_low_rank(layer: nn.Module, rank: int, scale: float, smallest: bool) -> LowRank:
    """Gives a layer of :func:`low_rank_layers` a change and returns it, for whoever registers it.

    The layer keeps its parameters and their names, and becomes an object of the class with the change.
    """
    low_rank = LowRank(_stored(layer), rank, scale, smallest)
    # Not registered: the names of a network stay as they are.
    layer.__dict__.update(low_rank=low_rank, plain_class=type(layer))
    layer.__class__ = next(changed for plain, changed in _CHANGED.items() if isinstance(layer, plain))
    return low_rank


def changed_layers(module: nn.Module) -> list[nn.Module]:
    """Returns the layers that have a low-rank change."""
    return [part for part in module.modules() if 'low_rank' in part.__dict__]


def start_low_rank(module: nn.Module) -> bool:
    """Starts all changes that are due along the smallest singular directions; returns whether there was one."""
    due = [layer for layer in changed_layers(module) if layer.low_rank.due]
    for layer in due:
        layer.low_rank.start(_stored(layer))
    return bool(due)


@torch.no_grad()
def merge_low_rank(module: nn.Module) -> None:
    """Adds all changes to the weights and makes their layers plain ones."""
    for layer in changed_layers(module):
        stored = _stored(layer)
        stored.copy_(layer.low_rank.applied(stored))
        layer.__class__ = layer.plain_class
        del layer.__dict__['low_rank'], layer.__dict__['plain_class']


@contextmanager
def without_changes(module: nn.Module) -> Iterator[None]:
    """Lets a network initialise and load its weights as if there were no changes."""
    changes = [layer.low_rank for layer in changed_layers(module)]
    for change in changes:
        change.enabled = False
    try:
        yield
    finally:
        for change in changes:
            change.enabled = True


def _pointwise(x_BCHW: Tensor, weight_OI: Tensor) -> Tensor:
    return F.conv2d(x_BCHW, weight_OI[:, :, None, None])


def _without_autocast(device: str) -> AbstractContextManager:
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def _stored(layer: nn.Module) -> Tensor:
    return layer._parameters['in_proj_weight' if isinstance(layer, nn.MultiheadAttention) else 'weight']


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (
        layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), 'valid'))
