"""What an optimiser and its schedules remember: whole in a checkpoint, and all of it taken over by a resume."""
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.optim import OptimWrapper, _ParamScheduler
from torch import Tensor, nn

from .checkpoint_reading import CheckpointError
from .resuming import check_keys, some

_MOMENTS = ('exp_avg', 'exp_avg_sq', 'momentum_buffer')  # these have the shape of their parameter


def optimizer_state(optim_wrapper: OptimWrapper) -> dict:
    """Returns the state of an optimiser for a checkpoint.

    torch has no entry for a parameter that was never updated. Here it has an empty one, so that an entry which is not
    there is one that was lost.
    """
    saved = optim_wrapper.state_dict()
    if 'state' in saved:
        numbers = [number for group in saved['param_groups'] for number in group['params']]
        saved = dict(saved, state={number: saved['state'].get(number, {}) for number in numbers})
    return saved


def load_optimizer_state(checkpoint: Mapping, path: str | Path, model: nn.Module, optim_wrapper: OptimWrapper,
                         schedulers: Sequence[_ParamScheduler], allow_changed: bool) -> list[str]:
    """Loads optimiser and schedules.

    Args:
        checkpoint: Its parts ``optimizer`` and ``param_schedulers`` are read.
        path: Its file.
        model: Gives the names of the parameters.
        optim_wrapper: Takes the state over.
        schedulers: Take theirs over.
        allow_changed: Lets moments that are lost begin at zero, and settings of the config (learning rate, weight
            decay, ...) take the place of those in the checkpoint; what is scheduled keeps its share of the start.

    Returns:
        What to tell the user.

    Raises:
        CheckpointError: If something is missing or does not fit.
    """
    saved, own = checkpoint['optimizer'], optim_wrapper.state_dict()
    check_keys(saved, own, path, 'the optimizer state')
    bases = [copy.copy(scheduler.base_values) for scheduler in schedulers]
    try:
        for saved_group, own_group in zip(saved['param_groups'], own['param_groups'], strict=True):
            check_keys(saved_group, own_group, path, 'a parameter group of the optimizer')
        lost = _lost_moments(saved, model, optim_wrapper)
        if lost and not allow_changed:
            raise CheckpointError(path, f'lacks what the optimizer remembers of {some(list(lost.values()))}: take '
                                        'another checkpoint; to let it begin at zero: --allow-changed-resume '
                                        '(allow_changed_resume=True in the config)')
        state = {number: entry for number, entry in saved['state'].items() if number not in lost}
        optim_wrapper.load_state_dict(dict(saved, state=state))
        for scheduler, saved_scheduler in zip(schedulers, checkpoint.get('param_schedulers', []), strict=True):
            check_keys(saved_scheduler, scheduler.state_dict(), path, 'the state of a param_scheduler')
            scheduler.load_state_dict(saved_scheduler)
    except ValueError as error:
        raise CheckpointError(path, f'optimizer or param_scheduler do not fit this config ({error})') from None
    if allow_changed:
        _set_changed(optim_wrapper.optimizer.param_groups, own['param_groups'])
        if 'base_param_settings' in own:  # what mmengine's log calls the learning rate
            _set_changed([optim_wrapper.base_param_settings], [own['base_param_settings']])
        for scheduler, base in zip(schedulers, bases, strict=True):
            scheduler.base_values = base
    return [f'the optimizer remembers nothing of {some(list(lost.values()))} and begins at zero there'] if lost else []


def _lost_moments(saved: Mapping, model: nn.Module, optim_wrapper: OptimWrapper) -> dict[int, str]:
    """Returns number and name of parameters whose moments are missing, incomplete or of another shape."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    # Those of the wrapper have one group more where there are several, which holds no parameter of the model.
    parameters = [parameter for group in optim_wrapper.optimizer.param_groups for parameter in group['params']]
    numbers = [number for group in saved['param_groups'] for number in group['params']]
    kinds = {key for entry in saved['state'].values() for key in entry}
    lost = {}
    for number, parameter in zip(numbers, parameters, strict=True):
        entry = saved['state'].get(number)
        name = names.get(id(parameter), f'parameter {number}')
        if entry is None:
            if parameter.requires_grad:
                lost[number] = name
        elif entry and (kinds - set(entry) or not _fits(entry, parameter)):
            lost[number] = f'{name} ({", ".join(sorted(kinds - set(entry))) or "shape"})'
    return lost


def _fits(entry: Mapping, parameter: Tensor) -> bool:
    return all(entry[key].shape == parameter.shape for key in _MOMENTS if isinstance(entry.get(key), Tensor))


def _set_changed(groups: Sequence[dict], own_groups: Sequence[Mapping]) -> None:
    """Gives loaded groups the settings of the config; a scheduled one stays at its share of the start."""
    for group, own in zip(groups, own_groups, strict=True):
        for key in own.keys() - {'params'}:
            start = f'initial_{key}'
            if key.startswith('initial_') or (start in group and group[start] == own[start]):
                continue
            group[key] = own[start] * group[key] / group[start] if group.get(start) else own[key]
            if start in group:
                group[start] = own[start]
