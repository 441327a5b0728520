"""A backbone of which a part learns, or that learns through something small beside it."""
from collections.abc import Iterator

from mmengine.dist import broadcast
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..tuning.blocks import blocks_of
from ..tuning.low_rank import changed_layers, start_low_rank, without_changes


@MODELS.register_module()
class TunedBackbone(BaseModule):
    """Wraps a backbone and tunes it.

    The backbone keeps the names of its tensors, under ``backbone.``, so that its own ``init_cfg`` and the checkpoints
    that are published for it load as ever; what learns beside it is under ``added.``. What does not learn stays in
    evaluation mode: no drop path, no dropout, statistics of batch norms as they are. In a block in which something
    learns, drop path and dropout are on.

    Args:
        backbone: Config of the backbone.
        tuning: Config of how it is tuned: ``FrozenTuning``, ``LastBlocksTuning``, ``LoRATuning``, ``LearnableTokens``.
        init_cfg: Has to be None: weights are loaded by ``backbone.init_cfg``.

    Raises:
        ValueError: If the tuning does not fit the backbone, or ``init_cfg`` is given.
    """

    def __init__(self, backbone: dict, tuning: dict, init_cfg: None = None) -> None:
        if init_cfg is not None:
            raise ValueError(f'TunedBackbone has init_cfg={init_cfg}: move it into the backbone that it wraps, '
                             'model.segmentor.backbone.backbone.init_cfg')
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.tuning = MODELS.build(tuning)
        self.added = self.tuning.attach(self.backbone)
        self._resting = list(_resting(self.backbone))
        self.frozen_names = frozenset(_frozen_names(self, self._resting))
        self._started = False

    def forward(self, images_BCHW: Tensor) -> Tensor | tuple[Tensor, ...] | list[Tensor]:
        """Returns what the backbone returns.

        Raises:
            RuntimeError: If it is trained before :meth:`start`, without which it would not learn.
        """
        if self.training and not self._started:
            if any(layer.low_rank.due and layer.low_rank.A_RI.requires_grad for layer in changed_layers(self.backbone)):
                raise RuntimeError("backbone.tuning.initialisation='smallest_singular' decomposes the weights once they are "
                                   "loaded, which has not been done: set runner_type='AdaptationRunner', or call start() "
                                   'of the TunedBackbone')
            self._started = True
        return self.backbone(images_BCHW)

    def train(self, mode: bool = True) -> 'TunedBackbone':
        """Sets the mode; what does not learn stays in evaluation mode."""
        super().train(mode)
        for module in self._resting:
            module.training = False
        return self

    def init_weights(self) -> None:
        """Initialises the backbone by its own ``init_cfg``, and what learns beside it."""
        self.load_source()
        for module in self.added.modules():
            if hasattr(module, 'reset'):
                module.reset()

    def load_source(self) -> None:
        """Initialises the wrapped backbone alone."""
        if hasattr(self.backbone, 'init_weights'):
            with without_changes(self.backbone):
                self.backbone.init_weights()

    def start(self) -> bool:
        """Decomposes weights where the tuning starts so and it has not been done; to be called once weights are loaded.

        With several processes all call it, and the first one's decides.

        Returns:
            Whether something was decomposed.
        """
        started = start_low_rank(self.backbone)
        for parameter in self.added.parameters() if started else ():
            broadcast(parameter.data)
        return started

    def start_as_copy(self) -> None:
        """Lets what learns beside a copy of a backbone that was started compute nothing, as that does."""
        for layer in changed_layers(self.backbone):
            layer.low_rank.start_as_copy()

    def merge(self) -> nn.Module:
        """Brings what was learnt into the weights of the backbone.

        Returns:
            The backbone, which in evaluation computes bitwise what this one computed.

        Raises:
            ValueError: If the tuning is not of that kind.
        """
        if not self.tuning.mergeable:
            raise ValueError(f'{type(self.tuning).__name__} changes what is between the blocks, which no weights of the '
                             'backbone do: keep the TunedBackbone')
        self.tuning.merge(self.backbone)
        return self.backbone


def _resting(backbone: nn.Module) -> Iterator[nn.Module]:
    """Lists the modules to keep in evaluation mode.

    Outside of blocks and in blocks that do not learn, all without a learning parameter; in blocks that learn, batch norms
    that do not. Blocks themselves are left out: transformers recomputes the activations of those in training mode.
    """
    changed = {id(layer) for layer in changed_layers(backbone)}

    def learns(module: nn.Module) -> bool:
        return any(parameter.requires_grad for parameter in module.parameters()) or any(
            id(part) in changed for part in module.modules())

    blocks = _known_blocks(backbone)
    in_learning_blocks = {id(part) for block in blocks if learns(block) for part in block.modules()}
    for module in backbone.modules():
        if not (learns(module) or id(module) in map(id, blocks)) and (
                id(module) not in in_learning_blocks or isinstance(module, _BatchNorm)):
            yield module


def _known_blocks(backbone: nn.Module) -> list[nn.Module]:
    try:
        return blocks_of(backbone)
    except TypeError:  # a backbone without known blocks can be frozen whole, and nothing in it learns
        return []


def _frozen_names(tuned: TunedBackbone, resting: list[nn.Module]) -> Iterator[str]:
    """Lists the parameters that never change, and the buffers of what stays in evaluation mode."""
    for name, parameter in tuned.named_parameters():
        if not parameter.requires_grad:
            yield name
    at_rest = {id(module) for module in resting}
    for name, module in tuned.backbone.named_modules():
        if id(module) in at_rest:
            yield from (f'backbone.{name}.{buffer}' if name else f'backbone.{buffer}'
                        for buffer, _ in module.named_buffers(recurse=False))
