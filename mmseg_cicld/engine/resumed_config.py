"""Tells in what the config of a checkpoint differs from that of the run that is to continue it.

Configs are compared as text, which is read without executing it.
"""
import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .checkpoint_reading import CheckpointError

_COMPARED = ('model', 'data_preprocessor', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler',
             'sync_bn', 'auto_scale_lr')
# What may differ: it decides where a run begins or ends, how it is watched, or how fast it is, not what it computes.
# The batch size counts with the number of processes and is compared with it.
_HARMLESS = re.compile(
    r'(^|\.)(init_cfg|pretrained|with_cp|backend_args|serialize_data|lazy_init|test_cfg)(\.|$)|'
    r'(^|\.)(backbone|vit)\.(weights|sha256)$|^model\.evaluate$|'
    r'^train_dataloader\.(num_workers|persistent_workers|pin_memory|prefetch_factor|timeout|batch_size|'
    r'disable_subprocess_warning)$|^train_cfg\.(max_iters|max_epochs|val_begin|val_interval|dynamic_intervals)')
_SCHEDULES = 'param_scheduler'
_ABSENT = 'nothing'
_SHOWN = 5


def config_text(config: Config) -> str:
    """Returns a config as text, with which checkpoints are compared later."""
    try:
        return config.pretty_text
    except Exception as error:
        # A worker of a loader may end meanwhile, which yapf and mmengine take for a fault of the config.
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        raise first from None


def config_differences(saved: str, now: str) -> list[str]:
    """Returns what differs between two configs of a training, each as ``KEY=SAVED, now NOW``.

    Args:
        saved: Text of the config in the checkpoint.
        now: Text of the config of the run, made in the same way.
    """
    before, after = (dict(_flat(_assignments(text))) for text in (saved, now))
    return [f'{key}={before.get(key, _ABSENT)}, now {after.get(key, _ABSENT)}' for key in {**before, **after}
            if before.get(key, _ABSENT) != after.get(key, _ABSENT) and not _HARMLESS.search(key)]


def check_config(saved: str | None, now: str, path: str | Path, allow_changed: bool) -> str:
    """Refuses to continue a training that would not be the same one.

    Args:
        saved: ``meta['cfg']`` of the checkpoint, None if it has none.
        now: Text of the config of the run.
        path: The checkpoint.
        allow_changed: ``allow_changed_resume`` of the config. Schedules cannot change midway all the same, since a
            checkpoint holds how far they are and not where they would have been.

    Returns:
        What to tell the user, empty if there is nothing to tell.

    Raises:
        CheckpointError: If the configs differ in more than is harmless.
    """
    try:
        differences = config_differences(saved or '', now) if saved else []
    except SyntaxError:
        saved = None
    if not saved:
        return f'{path} holds no config that can be read: whether this is the same training cannot be checked'
    if not differences:
        return ''
    given = '; '.join(differences[:_SHOWN]) + (f'; and {len(differences) - _SHOWN} more'
                                               if len(differences) > _SHOWN else '')
    schedules = [each for each in differences if each.startswith(_SCHEDULES)]
    if schedules or not allow_changed:
        how = ('a schedule cannot change midway' if schedules else
               'to go on all the same: --allow-changed-resume (allow_changed_resume=True in the config)')
        raise CheckpointError(path, f'was trained with another config: {given}. Restore it to resume, or set load_from '
                                    f'to start a new training from its weights; {how}')
    return f'{path} was trained with another config: {given}. Goes on with the new one, as allow_changed_resume says'


def _assignments(text: str) -> dict[str, Any]:
    return {node.targets[0].id: _value(node.value) for node in ast.parse(text).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in _COMPARED}


def _value(node: ast.expr) -> Any:
    """Returns dicts, lists and tuples as such, and all else as its text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {ast.unparse(key) if not isinstance(key, ast.Constant) else str(key.value): _value(value)
                for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    return ast.unparse(node)


def _flat(value: Any, path: str = '') -> Iterator[tuple[str, str]]:
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(inner, f'{path}.{key}' if path else str(key))
    elif path.endswith('data_root') and value != 'None':
        yield path, os.path.realpath(value.strip('\'"'))  # data/x and /home/me/data/x are one folder
    else:
        yield path, value
