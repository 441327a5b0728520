"""Weights that a training begins with (``load_from``): those of a training, or of a plain segmentor of mmseg."""
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.logging import MMLogger
from torch import nn

from ..mmengine_internals import set_versions, versions
from ..models.backbones import TunedBackbone
from .checkpoint_reading import CheckpointError
from .resuming import some

_STUDENT, _BACKBONE, _TUNED = 'student.', 'backbone.', 'backbone.backbone.'


def weights_for_training(state: OrderedDict, model: nn.Module, path: str | Path, logger: MMLogger) -> OrderedDict:
    """Returns weights by the names of the model that is to be trained.

    A model that wraps a segmentor as its student takes the weights of the bare segmentor too, as every checkpoint of
    stock mmseg has them; teachers begin as copies of the student. So do weights of a training or segmentor whose backbone
    was not tuned, where it is now.

    Args:
        state: The weights.
        model: The model that is to be trained.
        path: Their file.
        logger: Gets a line on what was left over.

    Raises:
        CheckpointError: If weights of a bare segmentor are not all that the student needs.
    """
    state = _with_added(state, model, path, logger)
    student = getattr(model, 'student', None)
    if not isinstance(student, nn.Module) or any(name.startswith(_STUDENT) for name in state):
        return state
    own = student.state_dict()
    found = [name for name in state if name in own]
    if not found:
        return state  # of something else, which the comparison with the model says
    missing = [name for name in own if name not in state and not name.endswith('num_batches_tracked')]
    if missing:
        raise CheckpointError(
            path, f'holds the weights of a plain segmentor, but {some(missing)} of this student are not among them. '
                  'Set model.segmentor to the network of the file; for its backbone alone, in place of load_from: '
                  "model.segmentor.backbone.init_cfg=dict(type='VerifiedPretrained', checkpoint=FILE, "
                  "prefix='backbone.')")
    left = [name for name in state if name not in own]
    logger.info(f'{path}: weights of a plain segmentor, loaded into the student'
                f'{f"; {some(left)} have no place in it" if left else ""}')
    renamed = OrderedDict((_STUDENT + name, state[name]) for name in found)
    set_versions(renamed, OrderedDict((f'{_STUDENT}{name}'.rstrip('.'), version)
                                      for name, version in versions(state).items()))
    return renamed


def _with_added(state: OrderedDict, model: nn.Module, path: str | Path, logger: MMLogger) -> OrderedDict:
    """Gives weights without a tuned backbone the names of one, with what learns beside it as the model has it."""
    segmentor = getattr(model, 'student', model)
    tuned = getattr(segmentor, 'backbone', None)
    if not isinstance(tuned, TunedBackbone) or any(_TUNED in name for name in state):
        return state
    if any(name.startswith(_STUDENT) for name in state):
        logger.info(f'{path}: the backbone of this training was not tuned; the student is taken from it')
        state = _renamed(state, lambda name: name.removeprefix(_STUDENT) if name.startswith(_STUDENT) else None)
    state = _renamed(state, lambda name: re.sub(f'^{_BACKBONE}', _TUNED, name))
    state.update({f'{_BACKBONE}added.{name}': value for name, value in tuned.added.state_dict().items()})
    return state


def _renamed(state: OrderedDict, rule: Callable[[str], str | None]) -> OrderedDict:
    """Renames weights and the versions of their layers by a rule, which gives None for what is left out."""
    renamed = OrderedDict((new, value) for name, value in state.items() if (new := rule(name)) is not None)
    set_versions(renamed, OrderedDict((new.rstrip('.'), version) for name, version in versions(state).items()
                                      if (new := rule(f'{name}.')) is not None))
    return renamed


def weights_in(checkpoint: Mapping, revise_keys: Sequence[tuple[str, str]] = ()) -> OrderedDict:
    """Returns the weights of a checkpoint, or a plain state dict, by new names.

    Args:
        checkpoint: Its content.
        revise_keys: Pairs (pattern, replacement) for the names.
    """
    state = checkpoint.get('state_dict', checkpoint)
    renamed = OrderedDict(state)
    for pattern, replacement in revise_keys:
        renamed = OrderedDict((re.sub(pattern, replacement, name), value) for name, value in renamed.items())
    set_versions(renamed, versions(state))
    return renamed
