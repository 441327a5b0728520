"""The last stage: evaluates, writes summary and report, and exports the segmentor."""
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from ..datasets.class_count import check_num_classes
from ..engine.checkpoint_reading import read_checkpoint
from ..engine.exporting import exported_segmentor, write_segmentor
from ..json_files import read_json, write_json
from ..uda.class_shares import ClassShares, class_names
from ..visualization import Example, save_examples, write_training_report
from ..visualization.next_commands import best_checkpoint
from ..visualization.run_facts import versions
from ..visualization.training_record import read_record
from .choices import LOW_CONFIDENCE, Settings
from .data_description import DataDescription
from .data_stage import ADAPTATION, NOTES
from .evaluation import PLAIN, RUNNING, Scores, evaluate_checkpoint
from .methods import SOURCE_FREE, SOURCE_ONLY
from .options import Options
from .trained_model import kept_weights

SUMMARY, SEGMENTOR, REPORT = 'summary.json', 'segmentor', 'report.html'
_TITLES = {SOURCE_ONLY: 'source-only', ADAPTATION: 'adapted'}
_SHOWN_IMAGES = 5
_COUNTED = 'class_shares'  # what TargetSelfTraining calls its counts


@dataclass(frozen=True)
class StageResult:
    """One finished training.

    Args:
        config: Its config.
        checkpoint: The one that counts: the best where there are target labels, else the last.
        scores: By network and normalisation; empty without target labels.
    """

    config: Config
    checkpoint: Path
    scores: Mapping[str, Mapping[str, Scores]]

    @property
    def evaluated(self) -> Scores | None:
        """Scores of the network that the config evaluates, as it is exported."""
        return self.scores[self.config.model.get('evaluate', PLAIN)][RUNNING] if self.scores else None


def report_on(options: Options, data: DataDescription, settings: Settings, last: Mapping[str, Path],
              configs: Mapping[str, Path], report: Callable[[int, int, str], object]) -> None:
    """Writes everything that comes after the trainings, ``summary.json`` last.

    Args:
        options: What was asked for.
        data: Folders and classes.
        settings: What was chosen.
        last: Last checkpoint of each stage, in order.
        configs: Config file of each stage.
        report: Called with the number done, of all, and what they are.
    """
    results: dict[str, StageResult] = {}
    if options.method == SOURCE_FREE:  # what is given was trained on the source alone
        results[SOURCE_ONLY] = _given(Config.fromfile(configs[ADAPTATION]), kept_weights(options.work_dir), data)
    for name, checkpoint in last.items():
        # What adaptation began with is the end of the first stage, whatever was best there.
        chosen = checkpoint if name != list(last)[-1] else best_checkpoint(checkpoint.parent) or checkpoint
        config = Config.fromfile(configs[name])
        scores = {} if data.validation is None else evaluate_checkpoint(config, chosen, data, _SHOWN_IMAGES)
        results[name] = StageResult(config, chosen, scores)
        report(len(results), len(last), 'stages evaluated')
    final = results[list(last)[-1]]
    export(final.config, final.checkpoint, options.work_dir / SEGMENTOR)
    summary = summarise(options, data, settings, results)
    _write_report(options.work_dir, results, summary)
    write_json(options.work_dir / SUMMARY, summary)


def _given(config: Config, weights: Path, data: DataDescription) -> StageResult:
    config.model = config.model.segmentor
    scores = {} if data.validation is None else evaluate_checkpoint(config, weights, data, _SHOWN_IMAGES)
    return StageResult(config, weights, scores)


def export(config: Config, checkpoint: Path, folder: Path) -> None:
    """Writes the network that the config evaluates as a plain mmseg segmentor."""
    loaded, config = read_checkpoint(checkpoint), Config(config.to_dict())
    check_num_classes(config)
    plain, network = exported_segmentor(config, loaded, checkpoint)
    write_segmentor(folder, plain, network.state_dict(), loaded.get('meta', {}).get('dataset_meta') or {})


def summarise(options: Options, data: DataDescription, settings: Settings,
              results: Mapping[str, StageResult]) -> dict:
    """Collects the numbers of a run; mean IoU and IoU in percent, None for what is not known."""
    seconds = {name: round(read_record(options.work_dir / name).seconds, 1) for name in results
               if (options.work_dir / name).is_dir()}
    scored = {name: result.evaluated for name, result in results.items() if result.evaluated is not None}
    final = list(results.values())[-1]
    return dict(
        source_only_miou=scored[SOURCE_ONLY].miou if scored else None,
        adapted_miou=scored[ADAPTATION].miou if ADAPTATION in scored else None,
        method=options.method, evaluated=final.config.model.evaluate, checkpoint=str(final.checkpoint),
        iterations=dict(source_only=settings.source_only, adaptation=settings.adaptation), seed=options.seed,
        seconds=round(sum(seconds.values()), 1), seconds_by_stage=seconds,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads',
        versions=versions(), notes=_notes(options.work_dir, data, results.get(ADAPTATION)),
        per_class={name: {stage: scores.per_class[name] for stage, scores in scored.items()}
                   for name in data.classes if scored},
        networks=[dict(stage=stage, network=network, batch_norms=kind, miou=scores.miou)
                  for stage, result in results.items() for network, kinds in result.scores.items()
                  for kind, scores in kinds.items()])


def _write_report(folder: Path, results: Mapping[str, StageResult], summary: dict) -> None:
    final = list(results)[-1]
    scored = {_TITLES[name]: result.evaluated for name, result in results.items() if result.evaluated is not None}
    if scored:
        examples = [Example(same[0].image, same[0].label, {name: each.prediction for name, each in zip(scored, same)})
                    for same in zip(*(scores.examples for scores in scored.values()))]
        save_examples(folder / final, examples, results[final].checkpoint.name)
    evaluations = {name: dict(miou=scores.miou, iou=scores.per_class) for name, scores in scored.items()}
    for row in summary['networks']:
        evaluations[f'{_TITLES[row["stage"]]}: {row["network"]}, {row["batch_norms"]}'] = dict(miou=row['miou'], iou={})
    before = folder / SOURCE_ONLY
    write_training_report(folder / final, source_only=before if final != SOURCE_ONLY and before.is_dir() else None,
                          evaluations=evaluations, notes=summary['notes'], path=folder / REPORT)


def _notes(folder: Path, data: DataDescription, adapted: StageResult | None) -> list[str]:
    """Collects what a user has to know, a sentence each."""
    notes = list(read_json(folder / NOTES, []))
    if adapted is not None:
        found = _confidence_note(folder / ADAPTATION, data.source is not None), _vanished_note(adapted, data.classes)
        notes += [note for note in found if note is not None]
    if data.validation is None:
        notes.append('there are no target labels, so how good the networks are on the target is not known, and the '
                     'last checkpoint was taken: which one is best cannot be told without labels. Confidence and '
                     'agreement of student and teacher tell whether the training is stable, not whether it is right. '
                     'Twenty labelled target images (--target-labels) are enough for a first score')
    else:
        notes.append('the checkpoint was chosen by the labelled target images that it is scored on, so the score is '
                     'a little too good; for a fair one keep further labelled images apart')
    return notes


def _vanished_note(adapted: StageResult, classes: Sequence[str]) -> str | None:
    """Names the classes that have all but vanished from pseudo-labels, where the training has counted them."""
    state = read_checkpoint(adapted.checkpoint)['state_dict']
    for name in [name for name in state if name.endswith(f'.{_COUNTED}.start_K')]:
        shares = ClassShares(len(classes))
        prefix = name.removesuffix('start_K')
        shares.load_state_dict({key: state[prefix + key] for key in shares.state_dict()})
        if gone := shares.vanished()[1]:
            return (f'the pseudo-labels have all but lost {class_names(gone, classes)}, which they showed at the start: the '
                    'adapted segmentor may have unlearned it. Compare the classes below, lower the learning rate or raise '
                    f'weight= of ClassBalance in configs/{ADAPTATION}.py, or use the segmentor as it was given')
    return None


def _confidence_note(folder: Path, has_source: bool) -> str | None:
    """Says what to do where the confident share stayed low; None where it did not, or there are no pseudo-labels."""
    values = [value for value in read_record(folder).confident_share.values() if value is not None]
    last = values[-max(1, len(values) // 10):]
    share = sum(last) / len(last) if last else math.inf
    if share >= LOW_CONFIDENCE:
        return None
    return (f'only {100 * share:.0f} % of the target pixels had confident pseudo-labels at the end, so the adaptation '
            'learned little from the target: train longer (--minutes, --iterations), lower threshold= in '
            f'{folder.parent}/configs/{ADAPTATION}.py (0.9, 0.8) and train with it'
            f'{", or add source images that are more like the target" if has_source else ""}')
