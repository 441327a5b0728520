"""What a training has to do for tuned backbones: an optimiser of what learns, and a start once weights are there."""
from mmengine.optim import OptimWrapper
from torch import nn

from ..models.backbones import TunedBackbone


def without_frozen(optim_wrapper: OptimWrapper, model: nn.Module) -> OptimWrapper:
    """Leaves an optimiser what learns, if a backbone is tuned: mmengine gives it all parameters that there are.

    Args:
        optim_wrapper: Its groups are changed; those that become empty are left out.
        model: The model, not wrapped.
    """
    if isinstance(optim_wrapper, OptimWrapper) and tuned_backbones(model):
        groups = optim_wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = [group for group in groups if group['params']]
    return optim_wrapper


def start_tunings(model: nn.Module) -> None:
    """Starts what starts from loaded weights; copies that do not learn themselves (teachers) start as their students.

    Args:
        model: The model, not wrapped. To be called by all processes.
    """
    tuned = tuned_backbones(model).values()
    learning = [part for part in tuned if any(parameter.requires_grad for parameter in part.added.parameters())]
    started = [part for part in learning if part.start()]
    for part in tuned if started else ():
        if part not in learning:
            part.start_as_copy()


def tuned_backbones(model: nn.Module) -> dict[str, TunedBackbone]:
    """Returns all tuned backbones of a model, those of teachers and other copies too, by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, TunedBackbone)}
