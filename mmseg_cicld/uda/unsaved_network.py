"""A network that is used, but neither trained nor saved."""
from collections.abc import Callable, Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..random_streams import seeded_globals


class UnsavedNetwork(nn.Module):
    """Holds a frozen network outside of what PyTorch counts: it is in no checkpoint, no optimiser and no average.

    It moves to devices and precisions with what it is part of, and stays in evaluation mode. It is built when it is
    first wanted, so that a model that only predicts has none. Random weights, where the config gives no others, are
    the same in every run and process.

    Args:
        config: Config of a backbone of mmseg's ``MODELS``; its weights come from its ``init_weights``.
    """

    def __init__(self, config: Mapping) -> None:
        super().__init__()
        self._config = dict(config)
        self._hidden: list[nn.Module] = []  # in a list, PyTorch does not see it
        self.register_buffer('_place', torch.zeros(()), persistent=False)

    def built(self) -> nn.Module:
        """Returns the network, on the device and in the precision that its owner has."""
        if not self._hidden:
            with seeded_globals(0):
                network = MODELS.build(self._config)
                if hasattr(network, 'init_weights'):  # as mmengine does it
                    network.init_weights()
            network.requires_grad_(False).to(self._place)
            network.eval()  # which gives nothing back for backbones of mmseg
            self._hidden.append(network)
        return self._hidden[0]

    @torch.no_grad()
    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the maps [B, C, h, w] that the network gives."""
        maps = self.built()(images_BCHW)
        return (maps, ) if isinstance(maps, Tensor) else tuple(maps)

    def _apply(self, fn: Callable, *args, **kwargs) -> 'UnsavedNetwork':
        super()._apply(fn, *args, **kwargs)
        for network in self._hidden:
            network._apply(fn, *args, **kwargs)
        return self
