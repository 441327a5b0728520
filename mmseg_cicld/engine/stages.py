"""Trains several configs one after the other; each starts from the weights that the one before it ended with."""
import copy
import gc
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from torch import Tensor, nn

from ..mmengine_internals import set_beginning
from .checkpoint_reading import CheckpointError
from .checkpoint_writing import write_atomically, write_checkpoint
from .folder_lock import locked_folder
from .resuming import newest_valid_checkpoint
from .runner import AdaptationRunner
from .trained_only import read_whole_checkpoint

STATE, HANDED_OVER, STARTED_WITH = 'stages.json', 'handed_over.pth', 'config_fingerprint.txt'
Watch = Callable[[str, AdaptationRunner], object]
DEFAULT_HAND_OVER = {'student.': 'student.'}


@dataclass(frozen=True)
class Stage:
    """One training of a sequence.

    Args:
        name: Name of its folder, unique in the sequence.
        config: What :class:`AdaptationRunner` takes. Beside that runner's keys it may hold ``hand_over``, which maps
            the beginnings of weights' names in the checkpoint of the stage before to those here, by default
            ``{'student.': 'student.'}``. Weights with other beginnings are not taken over.
    """

    name: str
    config: Config

    @property
    def fingerprint(self) -> str:
        """Changes with anything in the config."""
        return hashlib.blake2b(self.config.pretty_text.encode(), digest_size=8).hexdigest()


def run_stages(stages: Sequence[Stage], work_dir: str | Path, launcher: str = 'none',
               watch: Watch | None = None) -> Path:
    """Runs what is not finished yet; a stage that was stopped, however it was, goes on at its newest checkpoint.

    Each stage trains in ``work_dir/NAME``. What is finished stands in ``work_dir/stages.json``, which is written
    atomically. With several processes all call this. Meanwhile no other launch may train in ``work_dir``.

    Args:
        stages: In the order in which they run.
        work_dir: Folder of the whole sequence.
        launcher: How the processes were started, as ``launcher`` of a config.
        watch: Called with name and runner of each stage before it trains, for example to register hooks.

    Returns:
        The checkpoint of the last stage.

    Raises:
        CheckpointError: If the folder belongs to another sequence, another launch trains in it, the config of a stage
            has changed since it was begun, or the weights of a stage do not fit the next.
    """
    _check(stages)
    with locked_folder(work_dir, launcher):
        return _run_stages(stages, Path(work_dir), launcher, watch)


def _run_stages(stages: Sequence[Stage], work_dir: Path, launcher: str, watch: Watch | None) -> Path:
    finished = _finished_stages(stages, work_dir)
    checkpoint: str | None = None
    for stage in stages:
        if stage.name not in finished:
            checkpoint = _train(stage, work_dir / stage.name, checkpoint, launcher, watch)
            finished[stage.name] = dict(checkpoint=checkpoint, fingerprint=stage.fingerprint)
            _write_state(work_dir, stages, finished)
        checkpoint = finished[stage.name]['checkpoint']
    return work_dir / checkpoint


def renamed_weights(state: Mapping[str, Tensor], hand_over: Mapping[str, str]) -> dict[str, Tensor]:
    """Returns the weights whose names begin as one key of ``hand_over``, with its value in place of the key."""
    return {new + name[len(old):]: value for name, value in state.items() for old, new in hand_over.items()
            if name.startswith(old)}


def _finished_stages(stages: Sequence[Stage], work_dir: Path) -> dict[str, dict]:
    """Reads the state; refuses that of other stages, or of stages that have changed since they were finished."""
    file = work_dir / STATE
    if not file.is_file():
        return {}
    state = json.loads(file.read_text())
    names = [stage.name for stage in stages]
    if state['stages'] != names:
        raise CheckpointError(file, f'belongs to the stages {state["stages"]}, you asked for {names}: give the same '
                                    'configs, or another --work-dir')
    for stage in stages:
        saved = state['finished'].get(stage.name)
        if saved and saved['fingerprint'] != stage.fingerprint:
            raise CheckpointError(file, f'the config of {stage.name} is not the one with which this stage was finished:'
                                        ' restore it, or give another --work-dir to train all stages anew')
        if saved and not (work_dir / saved['checkpoint']).is_file():
            raise CheckpointError(work_dir / saved['checkpoint'],
                                  f'is missing, with which {stage.name} has ended: put it back, or give another '
                                  '--work-dir')
    return state['finished']


def _check(stages: Sequence[Stage]) -> None:
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise CheckpointError(STATE, f'the stages {names} need names of their own: rename a config')
    for stage in stages[1:]:
        if stage.config.get('load_from') is not None or stage.config.get('resume'):
            raise CheckpointError(STATE, f'the config of {stage.name} sets load_from or resume, but it gets the '
                                         'weights of the stage before: remove both')


def _write_state(work_dir: Path, stages: Sequence[Stage], finished: dict[str, dict]) -> None:
    if is_main_process():
        state = dict(stages=[stage.name for stage in stages], finished=finished)
        write_atomically(work_dir / STATE, lambda stream: stream.write(json.dumps(state, indent=2).encode()))
    barrier()


def _train(stage: Stage, folder: Path, previous: str | None, launcher: str, watch: Watch | None) -> str:
    """Trains one stage to its end and returns its checkpoint, relative to the folder of the sequence."""
    config = copy.deepcopy(stage.config)
    config.work_dir, config.launcher = str(folder), launcher
    hand_over = config.pop('hand_over', DEFAULT_HAND_OVER)
    runner = RUNNERS.build(config)
    if not isinstance(runner, AdaptationRunner):
        raise CheckpointError(stage.name, f"has a {type(runner).__name__}: set runner_type='AdaptationRunner'")
    # Now that the processes know each other, the first one decides for all.
    start: list[tuple[bool, str | None] | None] = [None]
    if is_main_process():
        start = [_start(runner, folder, previous and folder.parent / previous, hand_over, stage.fingerprint)]
    broadcast_object_list(start)
    set_beginning(runner, *start[0])
    if watch is not None:
        watch(stage.name, runner)
    runner.train()
    newest = [newest_valid_checkpoint(folder, runner.logger) if is_main_process() else None]
    broadcast_object_list(newest)
    if newest[0] is None or Path(newest[0]).resolve().parent != folder.resolve():
        raise CheckpointError(folder, 'the stage ended without a checkpoint in its folder: keep '
                                      "default_hooks.checkpoint with save_last=True and without out_dir")
    del runner
    gc.collect()  # models and optimisers of two stages need not fit beside each other
    return str(Path(folder.name) / Path(newest[0]).name)


def _start(runner: AdaptationRunner, folder: Path, previous: Path | None, hand_over: Mapping[str, str],
           fingerprint: str) -> tuple[bool, str | None]:
    """Returns whether a stage goes on at its own newest checkpoint, and else what it loads."""
    if newest_valid_checkpoint(folder, runner.logger) is not None:
        _check_unchanged(folder, fingerprint)
        return True, None
    write_atomically(folder / STARTED_WITH, lambda stream: stream.write(fingerprint.encode()))
    if previous is None:
        return False, runner.cfg.get('load_from')
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    state = renamed_weights(read_whole_checkpoint(previous)['state_dict'], hand_over)
    _check_handed_over(previous, state, model, hand_over)
    write_checkpoint(dict(state_dict=state), folder / HANDED_OVER)
    return False, str(folder / HANDED_OVER)


def _check_unchanged(folder: Path, fingerprint: str) -> None:
    """Refuses to go on with a config that is not the one with which the checkpoints of a stage were written."""
    file = folder / STARTED_WITH
    begun = file.read_text() if file.is_file() else 'missing'
    if begun != fingerprint:
        raise CheckpointError(file, f'is {begun}, but the config of {folder.name} has {fingerprint}: it is not the one '
                                    'with which this stage was begun. Restore it to go on, or remove the folder '
                                    f'{folder} to train the stage anew')


def _check_handed_over(previous: Path, state: Mapping[str, Tensor], model: nn.Module,
                       hand_over: Mapping[str, str]) -> None:
    own = model.state_dict()
    homeless = [name for name in state if name not in own]
    if not state or homeless:
        raise CheckpointError(
            previous, f'has {len(state)} weights for hand_over={dict(hand_over)}, {len(homeless)} of which the next '
                      f'model lacks ({", ".join(homeless[:2])}): set hand_over of the next config to prefixes that '
                      'both have')
