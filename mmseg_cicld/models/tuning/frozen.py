"""Backbones that learn nothing, or in their last blocks only."""
from dataclasses import dataclass

from mmseg.registry import MODELS
from torch import nn

from .blocks import blocks_of, transformer_of


@MODELS.register_module()
@dataclass(frozen=True)
class FrozenTuning:
    """Leaves every parameter as it is: necks and heads learn alone, and an adapter that stands beside a transformer."""

    mergeable = True

    def attach(self, backbone: nn.Module) -> nn.Module:
        """See :class:`Tuning`."""
        transformer_of(backbone).requires_grad_(False)
        return nn.Module()

    def merge(self, backbone: nn.Module) -> None:
        """See :class:`Tuning`; there is nothing to merge."""


@MODELS.register_module()
@dataclass(frozen=True)
class LastBlocksTuning:
    """Trains the last blocks, and all that the backbone registers after the first of them: later stages, output norms.

    Args:
        blocks: How many of the last blocks learn, at least 1.

    Raises:
        ValueError: If there are not that many.
    """

    blocks: int
    mergeable = True

    def attach(self, backbone: nn.Module) -> nn.Module:
        """See :class:`Tuning`."""
        blocks = blocks_of(backbone)
        if not 1 <= self.blocks <= len(blocks):
            raise ValueError(f'backbone.tuning.blocks is {self.blocks}, allowed are 1 to {len(blocks)}: that many blocks '
                             f'has this {type(backbone).__name__}')
        first, learns = id(next(blocks[-self.blocks].parameters())), False
        for parameter in transformer_of(backbone).parameters():
            learns = learns or id(parameter) == first
            if not learns:
                parameter.requires_grad_(False)
        return nn.Module()

    def merge(self, backbone: nn.Module) -> None:
        """See :class:`Tuning`; what learns is the backbone's own."""
