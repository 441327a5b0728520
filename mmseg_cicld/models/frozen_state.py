"""The weights of a network that no training changes."""
from torch import Tensor, nn


def frozen_state(network: nn.Module) -> dict[str, Tensor]:
    """Returns parameters and buffers that stay as they were loaded, by name.

    They are those that a part of the network lists in ``frozen_names``, as :class:`TunedBackbone` does. A parameter that
    asks for no gradient alone is not among them: it may begin to learn later.
    """
    tensors = {**dict(network.named_parameters(remove_duplicate=False)),
               **dict(network.named_buffers(remove_duplicate=False))}
    names = [f'{part}.{name}' if part else name for part, module in network.named_modules()
             for name in sorted(getattr(module, 'frozen_names', ()))]
    return {name: tensors[name] for name in names}


def share_frozen(network: nn.Module, other: nn.Module) -> None:
    """Lets ``network`` hold the very parameters and buffers of ``other``, a network like it, that no training changes."""
    for name in frozen_state(other):
        path, _, last = name.rpartition('.')
        own, theirs = network.get_submodule(path), other.get_submodule(path)
        held, given = (own._parameters, theirs._parameters) if last in own._parameters else (own._buffers, theirs._buffers)
        held[last] = given[last]
