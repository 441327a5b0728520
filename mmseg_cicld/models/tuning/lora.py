"""LoRA (Hu et al., ICLR 2022), and SoMA's start of it (Yun et al., CVPR 2025)."""
from collections.abc import Sequence
from dataclasses import dataclass

from mmseg.registry import MODELS
from torch import Tensor, nn

from .blocks import block_of_each_module, blocks_of, transformer_of
from .low_rank import add_low_rank, low_rank_layers, merge_low_rank

STARTS = ('kaiming', 'smallest_singular')


@MODELS.register_module()
@dataclass(frozen=True)
class LoRATuning:
    """Learns low-rank changes ``alpha / rank * B A`` of the linear layers in the blocks of a frozen backbone.

    SoMA is ``initialisation='smallest_singular'`` with the rank and alpha of the defaults and, for DINOv2-L,
    ``first_block=8``.

    Args:
        rank: Rank of the changes, at least 1.
        alpha: Their factor is ``alpha / rank``; above 0.
        targets: Ends of the names of linear layers, such as ``('qkv', 'proj')``. None is every linear layer, 1x1
            convolution and projection of attention in the blocks: queries, keys, values and output of attention, and
            both layers of the feed-forward part.
        first_block: Index of the first block that learns; those before it stay as they are.
        initialisation: ``'kaiming'``, LoRA's, or ``'smallest_singular'``, SoMA's. Both start as the backbone that is
            not tuned, to the bit.

    Raises:
        ValueError: If an argument is out of its range, or a target is no layer of the backbone.
    """

    rank: int = 16
    alpha: float = 16
    targets: Sequence[str] | None = None
    first_block: int = 0
    initialisation: str = 'kaiming'
    mergeable = True

    def __post_init__(self) -> None:
        if self.initialisation not in STARTS:
            raise ValueError(f"backbone.tuning.initialisation is '{self.initialisation}', allowed are {STARTS}")
        if self.alpha <= 0:
            raise ValueError(f'backbone.tuning.alpha is {self.alpha}, allowed are values above 0')

    def attach(self, backbone: nn.Module) -> nn.Module:
        """See :class:`Tuning`; returns the changes under the names of their layers."""
        smallest, changes = self.initialisation == 'smallest_singular', nn.Module()
        chosen = self._chosen(backbone)
        transformer_of(backbone).requires_grad_(False)
        for name, layer in chosen.items():
            _put(changes, name, add_low_rank(layer, self.rank, self.alpha / self.rank, smallest))
        return changes

    def merge(self, backbone: nn.Module) -> None:
        """See :class:`Tuning`."""
        merge_low_rank(backbone)

    def _chosen(self, backbone: nn.Module) -> dict[str, nn.Module]:
        count, blocks = len(blocks_of(backbone)), block_of_each_module(backbone)
        if not 0 <= self.first_block < count:
            raise ValueError(f'backbone.tuning.first_block is {self.first_block}, allowed are 0 to {count - 1}: this '
                             f'{type(backbone).__name__} has {count} blocks')
        # What asks for no gradient already is what no output depends on.
        layers = {name: layer for name, layer in low_rank_layers(backbone).items()
                  if blocks.get(name.removesuffix('.in_proj'), -1) >= self.first_block and _weight(name, layer).requires_grad}
        for target in self.targets or ():
            if not any(_ends(name, target) for name in layers):
                raise ValueError(f"backbone.tuning.targets holds '{target}', with which no linear layer ends; from block "
                                 f'{self.first_block} on {type(backbone).__name__} has {_endings(layers, blocks)}')
        chosen = {name: layer for name, layer in layers.items()
                  if self.targets is None or any(_ends(name, target) for target in self.targets)}
        largest = min(min(_weight(name, layer).shape[:2]) for name, layer in chosen.items())
        if not 1 <= self.rank <= largest:
            raise ValueError(f'backbone.tuning.rank is {self.rank}, allowed are 1 to {largest}, the smaller side of the '
                             'smallest weight')
        return chosen


def _weight(name: str, layer: nn.Module) -> Tensor:
    return layer.in_proj_weight if name.endswith('.in_proj') else layer.weight


def _put(tree: nn.Module, name: str, module: nn.Module) -> None:
    *path, last = name.split('.')
    for part in path:
        if not hasattr(tree, part):
            tree.add_module(part, nn.Module())
        tree = getattr(tree, part)
    tree.add_module(last, module)


def _ends(name: str, target: str) -> bool:
    return f'.{name}'.endswith(f'.{target}')


def _endings(names: dict[str, nn.Module], blocks: dict[str, int]) -> list[str]:
    """Returns the names inside of a block, each once."""
    inside = set()
    for name in names:
        parts = name.split('.')
        depth = next(depth for depth in range(len(parts)) if '.'.join(parts[:depth]) in blocks)
        inside.add('.'.join(parts[depth:]))
    return sorted(inside)
