"""Parts that mmseg 0.x and 1.x share by name and arguments: they are copied argument by argument."""
import inspect

from mmseg.registry import MODELS

from .accounting import OldPart

_LAYER_KEYS = ('type', 'requires_grad', 'eps', 'momentum', 'affine', 'track_running_stats', 'num_groups', 'inplace',
               'negative_slope')


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


def _copied(part: OldPart, key: str, new: str) -> dict:
    value = part.look(key)
    if key in ('norm_cfg', 'act_cfg', 'conv_cfg'):
        return copy_layer_config(part, key, new)
    if isinstance(value, dict):
        inner = part.part(key)
        kind = stock_class(inner.kind)
        if kind is None:
            part.refuse(key, f'{inner.look("type")!r} is no part of mmseg 1.x')
            return {}
        return {key: copy_stock(inner, kind, new)}
    if isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        return {key: _copied_list(part, key, new)}
    return {key: part.take(key, new)}


def _copied_list(part: OldPart, key: str, new: str) -> list[dict]:
    copied = []
    for index, inner in enumerate(part.parts(key)):
        kind = stock_class(inner.kind)
        if kind is None:
            inner.refuse('type', f'{inner.look("type")!r} is no part of mmseg 1.x')
        else:
            copied.append(copy_stock(inner, kind, f'{new}[{index}]'))
    return copied
