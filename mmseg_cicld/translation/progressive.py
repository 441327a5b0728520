"""Translates in rounds, each with a segmentor that the round before has brought nearer to the target.

Source: PTL (Peng et al., ICCV 2023). The segmentor that guides a translation is unreliable on images that look unlike
those it was trained on. So the first round changes the source a little, the segmentor is fine-tuned on the result, and
the next round goes further.
"""
import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from torch import Tensor

from ..engine.checkpoint_writing import write_atomically, write_checkpoint
from ..engine.folder_lock import locked_folder
from ..engine.stages import DEFAULT_HAND_OVER, Stage, renamed_weights, run_stages
from ..engine.trained_only import read_whole_checkpoint
from ..settings import build_settings
from .dataset_translation import translate_dataset
from .errors import TranslationError
from .reverse_steps import TranslationSettings
from .run_settings import RunSettings

SUMMARY = 'rounds.json'


@dataclass(frozen=True)
class Round:
    """One round.

    Args:
        level: How far the source is noised, in (0, 1], see :class:`TranslationSettings`.
        iterations: Length of the fine-tuning after it; 0 keeps the segmentor, as in the last round.
        options: More changes of the translation config, such as ``{'translation.steps': 20}``.
    """

    level: float
    iterations: int
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgressiveSettings:
    """The key ``progressive`` of a translation config.

    Args:
        training: Config file of the fine-tuning, with a ``UDADataset`` whose source is that of the translation.
        rounds: See :class:`Round`, with levels that do not fall.
        share: Share of translated images among those of the fine-tuning, in (0, 1]; 1: these alone.
        options: Changes of the training config.
        hand_over: Which weights of the first segmentor's checkpoint the first fine-tuning begins with, see
            :class:`~mmseg_cicld.engine.stages.Stage`. ``{'': 'student.'}`` for a plain checkpoint of mmseg.

    Raises:
        TranslationError: If there is no round, levels fall, or a number is out of range.
    """

    training: str
    rounds: Sequence[Round]
    share: float = 1.0
    options: Mapping[str, object] = field(default_factory=dict)
    hand_over: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_HAND_OVER))

    def __post_init__(self) -> None:
        levels = [each.level for each in self.rounds]
        if not levels or levels != sorted(levels) or not 0 < levels[0] <= levels[-1] <= 1:
            raise TranslationError(f'progressive.rounds has the levels {levels}: give at least one, each in (0, 1] and '
                                   'none below the one before')
        if min(each.iterations for each in self.rounds) < 0 or any(not each.iterations for each in self.rounds[:-1]):
            raise TranslationError('progressive.rounds has the iterations '
                                   f'{[each.iterations for each in self.rounds]}: give 1 or more, in the last round '
                                   'also 0')
        if not 0 < self.share <= 1:
            raise TranslationError(f'progressive.share is {self.share}, allowed is above 0 up to 1')

    @classmethod
    def from_config(cls, config: Mapping) -> 'ProgressiveSettings':
        """Takes the key ``progressive`` out of a config.

        Raises:
            TranslationError: If it is missing or wrong.
        """
        entry = copy.deepcopy(dict(config.get('progressive') or {}))
        try:
            return cls(**{**entry, 'rounds': [Round(**each) for each in entry.get('rounds', ())]})
        except TypeError as error:
            raise TranslationError(f'progressive of the config is wrong ({error}): it needs training=FILE and '
                                   'rounds=[dict(level=..., iterations=...), ...]') from error


def translate_progressively(config: Config, work_dir: str | Path, launcher: str = 'none') -> Path:
    """Runs all rounds; what was stopped anywhere goes on with the same call.

    Round k writes ``work_dir/round_k/dataset`` and trains in ``work_dir/round_k/training_k``. With several processes
    all call this.

    Args:
        config: A translation config with the key ``progressive``; its ``segmentor`` guides the first round.
        work_dir: Folder of the rounds, and of ``rounds.json``, which lists their results.
        launcher: How the processes were started, as ``launcher`` of a config.

    Returns:
        The dataset of the last round.

    Raises:
        TranslationError: If the config is wrong, or a dataset in the folder has other settings.
        CheckpointError: If a training in the folder had other settings, or another launch works there.
    """
    settings, work_dir = ProgressiveSettings.from_config(config), Path(work_dir)
    _check_beforehand(config, settings)
    with locked_folder(work_dir, launcher):
        return _run_rounds(config, settings, work_dir, launcher)


def _run_rounds(config: Config, settings: ProgressiveSettings, work_dir: Path, launcher: str) -> Path:
    segmentor, hand_over, finished = dict(config.segmentor), settings.hand_over, []
    for number, each in enumerate(settings.rounds, start=1):
        folder = work_dir / f'round_{number}'
        dataset = translate_dataset(_translation(config, each, segmentor), folder / 'dataset')
        if each.iterations:
            start = _handed_over(segmentor, hand_over, folder)
            training = fine_tuning(settings, each, dataset, start)
            training.hand_over = dict(hand_over)  # a finished training with other weights of the guide is refused
            segmentor = _fine_tune(training, folder, number, launcher)
            hand_over = DEFAULT_HAND_OVER
        finished.append(dict(level=each.level, dataset=str(dataset), segmentor=segmentor))
        _write_summary(finished, work_dir)
    return dataset


def fine_tuning(settings: ProgressiveSettings, each: Round, dataset: Path, start: Path) -> Config:
    """Returns the training config of one round, with schedules that end where it ends.

    Args:
        settings: Of all rounds.
        each: The round.
        dataset: What it has translated.
        start: Checkpoint that it begins with.

    Raises:
        TranslationError: If a schedule of the config begins after that.
    """
    config, length = Config.fromfile(settings.training), each.iterations
    config.merge_from_dict(dict(settings.options))
    before = config.train_cfg.max_iters
    for scheduler in config.get('param_scheduler') or ():
        if scheduler.get('end', 0) >= before:  # the published ones end one iteration after the training
            scheduler.end += length - before
        if scheduler.get('begin', 0) >= length:
            raise TranslationError(f'a schedule of {settings.training} begins at iteration {scheduler.begin}, but the '
                                   f'round has iterations={length}: shorten it by progressive.options, such as '
                                   "{'param_scheduler.0.end': 20, 'param_scheduler.1.begin': 20}")
    config.train_cfg.update(max_iters=length, val_interval=min(length, config.train_cfg.get('val_interval', length)))
    config.train_dataloader.dataset.translated = dict(data_root=str(dataset), share=settings.share)
    config.load_from = str(start)
    return config


def _translation(config: Config, each: Round, segmentor: dict) -> Config:
    config = copy.deepcopy(config)
    config.merge_from_dict({'translation.level': each.level, **each.options})
    config.segmentor = segmentor
    return config


def _check_beforehand(config: Config, settings: ProgressiveSettings) -> None:
    """Raises now what a round would raise hours later."""
    segmentor = config.get('segmentor')
    if segmentor is None or segmentor.get('checkpoint') is None:
        raise TranslationError('progressive translation needs a guide: set segmentor=dict(config=FILE, '
                               'checkpoint=FILE) and guidance')
    for each in settings.rounds:
        run = RunSettings.from_config(_translation(config, each, dict(segmentor)))
        try:
            build_settings(TranslationSettings, run.translation, 'translation')
        except ValueError as error:
            raise TranslationError(f'the round of level {each.level}: {error}') from error
        if each.iterations:
            _check_source(settings.training, fine_tuning(settings, each, Path(), Path()), run.source)
    if settings.rounds[0].iterations:
        _weights(segmentor, settings.hand_over)


def _check_source(file: str, training: Config, source: Mapping) -> None:
    """Refuses a training that could not use the translations of a source."""
    dataset = training.train_dataloader.dataset
    roots = [each.get('data_root') for each in (dataset.get('source') or {}, source)]
    if dataset.get('type') != 'UDADataset' or None in roots or len(set(map(os.path.realpath, roots))) > 1:
        raise TranslationError(f'{file} trains with a {dataset.get("type")} on source.data_root={roots[0]}, but the '
                               f'source of the translation has data_root={roots[1]}: give in progressive.training a '
                               'config with a UDADataset of that source, or change it by progressive.options')


def _weights(segmentor: Mapping[str, str], hand_over: Mapping[str, str]) -> dict[str, Tensor]:
    content = read_whole_checkpoint(segmentor['checkpoint'])
    state = renamed_weights(content.get('state_dict', content), hand_over)
    if not state:
        raise TranslationError(f'{segmentor["checkpoint"]} has no weights that begin with {list(hand_over)}: set '
                               "progressive.hand_over, {'': 'student.'} for a plain checkpoint of mmseg")
    return state


def _handed_over(segmentor: Mapping[str, str], hand_over: Mapping[str, str], folder: Path) -> Path:
    """Writes the weights of a segmentor as a training can load them, and returns the file."""
    file, state = folder / 'start.pth', _weights(segmentor, hand_over)
    if is_main_process():
        write_checkpoint(dict(state_dict=state), file)
    barrier()
    return file


def _fine_tune(training: Config, folder: Path, number: int, launcher: str) -> dict[str, str]:
    """Trains (or goes on, or finds it done) and returns the segmentor that came out."""
    training.setdefault('runner_type', 'AdaptationRunner')
    training.experiment_name = f'{folder}/training_{number}'  # mmengine's own has the second in it, no more
    file = folder / f'training_{number}.py'
    if is_main_process():
        training.dump(file)
    checkpoint = run_stages([Stage(f'training_{number}', training)], folder, launcher)
    return dict(config=str(file), checkpoint=str(checkpoint))


def _write_summary(finished: Sequence[Mapping], work_dir: Path) -> None:
    if is_main_process():
        content = json.dumps(finished, indent=2).encode()
        write_atomically(work_dir / SUMMARY, lambda stream: stream.write(content))
    barrier()
