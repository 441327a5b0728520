"""Parts that mmseg 0.x and 1.x share by name and arguments: they are copied argument by argument, losses with care."""
import inspect

from mmseg.registry import MODELS

from .accounting import OldPart, is_number

_LAYER_KEYS = ('type', 'requires_grad', 'eps', 'momentum', 'affine', 'track_running_stats', 'num_groups', 'inplace',
               'negative_slope')
_SAME_LOSSES = ('CrossEntropyLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss')


def stock_class(name: str) -> type | None:
    """Returns the class of mmseg 1.x that a ``type`` names, None if it has none."""
    found = MODELS.get(name) if name else None
    return found if found is not None and found.__module__.startswith('mmseg.') else None


def accepted_arguments(kind: type) -> set[str]:
    """Returns the names of a class's arguments, those that it hands on to its parents included."""
    names: set[str] = set()
    for owner in kind.__mro__:
        parameters = inspect.signature(owner.__init__).parameters.values() if '__init__' in vars(owner) else ()
        names |= {parameter.name for parameter in parameters
                  if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)}
        if parameters and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names - {'self'}


def copy_stock(part: OldPart, kind: type, new: str, skip: tuple[str, ...] = ()) -> dict:
    """Copies the arguments of a part of mmseg.

    Args:
        part: The part in the old config.
        kind: Its class in mmseg 1.x.
        new: Path of the part in the new config.
        skip: Keys that the caller reads.

    Returns:
        The part for the new config, without ``skip``.
    """
    accepted, copied = accepted_arguments(kind), {}
    for key in part.values:
        if key in skip:
            continue
        if key == 'type' or key in accepted:
            copied.update(_copied(part, key, f'{new}.{key}'))
        else:
            part.refuse(key, f'{kind.__name__} of mmseg 1.x has no such argument')
    return copied


def copy_layer_config(part: OldPart, key: str, new: str) -> dict:
    """Copies a ``norm_cfg`` or ``act_cfg``; returns it under its key, or nothing if it is not there."""
    if key not in part:
        return {}
    if not isinstance(part.look(key), dict):
        return {key: part.take(key, new)}
    layer = part.part(key)
    return {key: {name: layer.take(name, f'{new}.{name}') for name in layer.values if name in _LAYER_KEYS}}


def copy_loss(loss: OldPart, new: str) -> dict:
    """Copies a loss whose formula mmseg 1.x kept; class weights of cross entropy only where they are all alike.

    mmseg 0.x divides a class-weighted cross entropy by the number of pixels (v0.16.0 and later, cross_entropy_loss.py),
    mmseg 1.x by the sum of the weights of their labels. With one weight w for all classes the old loss is w times the
    one without weights. As weights of a sigmoid (``pos_weight``) they mean the same in both.

    Args:
        loss: The loss in the old config.
        new: Its path in the new config.
    """
    kind = stock_class(loss.kind)
    if loss.kind not in _SAME_LOSSES:
        allowed = f'mmseg 1.x computes {", ".join(_SAME_LOSSES)} by the same formula'
        reason = 'is another formula in mmseg 1.x' if loss.kind == 'DiceLoss' else 'is no loss of mmseg 0.x and 1.x'
        loss.refuse_type(f'{loss.look("type")!r} {reason}: {allowed}')
        return {}
    if loss.kind != 'CrossEntropyLoss' or loss.look('use_sigmoid', False):
        return copy_stock(loss, kind, new)
    weight = _common_weight(loss, new)
    copied = copy_stock(loss, kind, new, skip=('class_weight', ))
    return copied if weight is None else dict(copied, loss_weight=weight * copied.get('loss_weight', 1.0))


def copy_losses(head: OldPart, key: str, new: str) -> dict:
    """Copies the loss of a head, or its list of losses; returns it under its key, or nothing if it is neither."""
    if isinstance(head.look(key), dict):
        return {key: copy_loss(head.part(key), new)}
    if isinstance(head.look(key), (list, tuple)):
        return {key: [copy_loss(loss, f'{new}[{index}]') for index, loss in enumerate(head.parts(key))]}
    return {}  # what else there may be is reported as unknown


def _common_weight(loss: OldPart, new: str) -> float | None:
    weights = loss.look('class_weight')
    if weights is None:
        loss.drop('class_weight', 'None: there are none')
        return None
    numbers = isinstance(weights, (list, tuple)) and all(is_number(weight) for weight in weights)
    if not numbers or not is_number(loss.look('loss_weight', 1.0)) or len(set(weights)) != 1:
        loss.refuse('class_weight', 'mmseg 0.x divides the weighted cross entropy by the number of pixels, mmseg 1.x '
                                    'by the sum of their weights: only one weight for all classes means the same')
        return None
    loss.take('class_weight', f'{new}.loss_weight (one weight for all classes)')
    return weights[0]


def _copied(part: OldPart, key: str, new: str) -> dict:
    value = part.look(key)
    if key in ('norm_cfg', 'act_cfg', 'conv_cfg'):
        return copy_layer_config(part, key, new)
    if isinstance(value, dict):
        return {key: _inner(part.part(key), new)}
    if isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        return {key: [_inner(inner, f'{new}[{index}]') for index, inner in enumerate(part.parts(key))]}
    return {key: part.take(key, new)}


def _inner(inner: OldPart, new: str) -> dict:
    kind = stock_class(inner.kind)
    if kind is None:
        inner.refuse_type(f'{inner.look("type")!r} is no part of mmseg 1.x')
        return {}
    return copy_loss(inner, new) if '.losses.' in kind.__module__ else copy_stock(inner, kind, new)
