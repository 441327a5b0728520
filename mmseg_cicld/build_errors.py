"""Says what is wrong with a config of which a part cannot be built: a key or type that does not exist, and its like.

mmengine builds every part with one function. When it fails, its variables hold all that a message needs: the part of
the config, the registry, and the class that was to take the keys.
"""
import difflib
import dis
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader

_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.+)$")
_BUILDERS = re.compile(r'build|from_cfg$|^__init__$')
_HOSTS = ('mmengine', 'mmcv', 'mmseg')
_LONGEST = 300


def explain_build_error(error: Exception) -> str | None:
    """Returns what is wrong with the part of a config that was being built; None if that is not what failed."""
    frames = stack(error)
    if not frames:
        return None
    config = _config(frames)
    if isinstance(error, KeyError):
        return _wrong_type(frames[-1], config)
    if isinstance(error, TypeError):
        return _wrong_optimizer(frames, config) or _wrong_key(str(error), frames, config)
    return None


def building(frames: Sequence[TracebackType]) -> bool:
    """Tells whether an error arose while mmengine built something from a config."""
    return any(_module(frame) == 'mmengine' and re.match('build_|from_cfg$', frame.tb_frame.f_code.co_name)
               for frame in frames)


def stack(error: Exception) -> list[TracebackType]:
    """Returns the traceback of an error, the innermost entry last."""
    entries, entry = [], error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    return entries


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a question if a known word is much like this one, and otherwise nothing; both as the end of a clause."""
    alike = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.7)
    return f"; did you mean '{alike[0]}'?" if alike else '.'


def instruction(entry: TracebackType) -> str:
    """Returns what the interpreter was doing in an entry of a traceback, such as ``'RAISE_VARARGS'``."""
    return dis.opname[entry.tb_frame.f_code.co_code[entry.tb_lasti]]


def shortened(text: str) -> str:
    """Cuts a text that holds a whole config."""
    text = ' '.join(text.split())
    return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'


def _wrong_type(frame: TracebackType, config: dict) -> str | None:
    """Explains a part without type, or with a type that is in no registry."""
    names = frame.tb_frame.f_locals
    registry, part = names.get('registry'), names.get('cfg')
    if _module(frame) not in _HOSTS or not _BUILDERS.search(frame.tb_frame.f_code.co_name):
        return None
    if isinstance(part, dict) and not isinstance(part, Config) and 'type' not in part:
        path, siblings = _place_of_part(part, config)
        last = path.rsplit('.', 1)[-1]
        return (f'{path or "a part of the config"} has no type (it has {", ".join(map(str, part)) or "no key at all"})'
                f'{did_you_mean(last, set(siblings) - {last})}')
    variable, wanted = next(((name, value) for name, value in names.items()
                             if name.endswith('_type') and isinstance(value, str)), ('', None))
    if not isinstance(registry, Registry) or wanted is None or registry.get(wanted) is not None:
        return None
    return unknown_type('runner_type' if variable == 'runner_type' else _path(config, wanted, 'type'), wanted, registry)


def unknown_type(path: str, wanted: str, registry: Registry) -> str:
    """Says that a type is in no registry.

    Args:
        path: Where it stands in the config.
        wanted: The type.
        registry: Where it was looked for.
    """
    return (f'{path}={wanted!r} is not registered as a {registry.name}{did_you_mean(wanted, _registered(registry))} A '
            'class of your own needs its module in custom_imports')


def _wrong_optimizer(frames: Sequence[TracebackType], config: dict) -> str | None:
    """Explains an optimiser that is in no registry; mmengine reads its signature before it looks if it is there."""
    for frame in frames:
        names = frame.tb_frame.f_locals
        if _module(frame) == 'mmengine' and 'optimizer_cls' in names and names['optimizer_cls'] is None:
            wanted = names['self'].optimizer_cfg['type']
            return unknown_type(_path(config, wanted, 'type'), wanted, names['registry'])
    return None


def _wrong_key(message: str, frames: Sequence[TracebackType], config: dict) -> str | None:
    """Explains keys that a class or function does not take or that it lacks."""
    unexpected, missing = _UNEXPECTED.search(message), _MISSING.search(message)
    # With other calls than f(**part) the keys are those of a program.
    if not (unexpected or missing) or instruction(frames[-1]) != 'CALL_FUNCTION_EX':
        return None
    kind, part = _built(frames)
    name = getattr(kind, '__name__', '')
    if unexpected is None:
        return f'{_path(config, name)} ({name}) lacks {missing.group(1)}' if part is not None else None
    key = unexpected.group(1)
    if part is not None and key in part:
        path = _path(config, name, key)
    else:
        kind, name = _called(message, frames[-1]), message.split('(')[0].removesuffix('.__init__')
        path = next((f'{place}.{key}' for place, each in _parts(config) if key in each), None)
    if path is None:
        return None
    taken = parameters_of(kind) if kind is not None else []
    listed = f' Keys that it takes: {", ".join(taken)}' if taken else ''
    return f'{path} is no key of {name}{did_you_mean(key, taken)}{listed}'


def _built(frames: Sequence[TracebackType]) -> tuple[Any, dict | None]:
    """Returns the class that mmengine was building and its keys, if the error is in handing them on to its parents."""
    places = [index for index, frame in enumerate(frames)
              if _module(frame) == 'mmengine' and frame.tb_frame.f_code.co_name.startswith('build_')]
    built = places[-1] if places else None
    if built is None or any(frame.tb_frame.f_code.co_name != '__init__' for frame in frames[built + 1:]):
        return None, None
    names = frames[built].tb_frame.f_locals
    if frames[built].tb_frame.f_code.co_name == 'build_dataloader':
        return DataLoader, names.get('dataloader_cfg')
    return names.get('obj_cls'), names.get('args')


def _called(message: str, frame: TracebackType) -> Any:
    """Finds what was called by the name in the message of Python, such as ``LogProcessor.__init__()``."""
    names = {**frame.tb_frame.f_globals, **frame.tb_frame.f_locals}
    first, *rest = message.split('(')[0].split('.')
    found = names.get(first) or names.get('func')
    if found is None and type(names.get('self')).__name__ == first:
        found = type(names['self'])
    for name in rest:
        found = found if name == '__init__' else getattr(found, name, None)
    return found


def parameters_of(kind: Any) -> list[str]:
    """Returns the keys that a class takes, those of its parents too where it hands keys on."""
    found: dict[str, None] = {}
    for each in inspect.getmro(kind) if inspect.isclass(kind) else [kind]:
        own = each.__dict__.get('__init__') if inspect.isclass(each) else each
        if own is None:
            continue
        parameters = inspect.signature(own).parameters.values()
        found.update(dict.fromkeys(each.name for each in parameters
                                   if each.name != 'self' and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)))
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return list(found)


def _registered(registry: Registry) -> Iterator[str]:
    """Yields all names that a registry can find: its own, and those of its parents."""
    each: Registry | None = registry
    while each is not None:
        yield from each.module_dict
        each = each.parent


def _path(config: dict, kind: str, key: str = '') -> str:
    """Returns where a part stands in the config, as ``--cfg-options`` names it; just its type if that is not clear."""
    holding = [(path, part) for path, part in _parts(config) if not key or key in part]
    found = [path for path, part in holding if str(part.get('type', '')).rsplit('.', 1)[-1] == kind]
    if key and not found:  # a data loader has no type
        found = [path for path, _ in holding]
    place = found[0] if len(found) == 1 else ''
    return '.'.join(filter(None, (place, key))) or kind


def _place_of_part(part: dict, config: dict) -> tuple[str, list[str]]:
    """Returns the path of a part without type, and the keys beside it."""
    plain = {key: value for key, value in part.items() if key != '_scope_'}
    for path, outer in _parts({'': config}):
        for key, value in outer.items():
            if isinstance(value, dict) and value == plain:
                return '.'.join(filter(None, (path, key))), list(map(str, outer))
    return '', []


def _parts(part: Any, path: str = '') -> Iterator[tuple[str, dict]]:
    if isinstance(part, dict):
        yield path, part
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, (list, tuple)) else ()
    for key, value in items:
        yield from _parts(value, '.'.join(filter(None, (path, str(key)))))


def _config(frames: Sequence[TracebackType]) -> dict:
    """Returns the whole config from the outermost function that has it."""
    for frame in frames:
        for value in frame.tb_frame.f_locals.values():
            if isinstance(value, Config):
                return value.to_dict()
    return {}


def _module(frame: TracebackType) -> str:
    return frame.tb_frame.f_globals.get('__name__', '').split('.')[0]
