"""The last stage: evaluates, writes summary and report, and exports the segmentor."""
import math
from pathlib import Path

from mmengine.config import Config

from ..datasets.class_count import check_num_classes
from ..engine.checkpoint_reading import read_checkpoint
from ..engine.exporting import exported_segmentor, write_segmentor
from .data_description import DataDescription
from .data_stage import NOTES
from .evaluation import RUNNING, TARGET, Scores, has_batch_norms, networks, score, target_statistics
from ..json_files import read_json, write_json
from .recording import read_curve

SUMMARY, SEGMENTOR = 'summary.json', 'segmentor'
LOW_CONFIDENCE = 0.3
"""Mean confident share in the last tenth of the adaptation below which pseudo-labels hardly teach."""


def best_checkpoint(folder: Path, last: Path) -> Path:
    """Returns the checkpoint of the best validation, the last one where nothing was validated."""
    found = sorted(folder.glob('best_mIoU_iter_*.pth'), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else last


def evaluate_stage(config: Config, checkpoint: Path, data: DataDescription) -> dict[str, dict[str, Scores]]:
    """Scores each network of a checkpoint with both normalisations, by network and normalisation."""
    loader = dict(
        batch_size=config.train_dataloader.batch_size, num_workers=0, sampler=dict(type='KeyedInfiniteSampler'),
        dataset=dict(type='UnlabelledDataset', target=data.target.dataset(config.target_pipeline, data.metainfo)))
    found: dict[str, dict[str, Scores]] = {}
    for name, network in networks(config, str(checkpoint)).items():
        found[name] = {RUNNING: score(network, config.val_dataloader)}
        if has_batch_norms(network):
            with target_statistics(network, loader):
                found[name][TARGET] = score(network, config.val_dataloader)
    return found


def export(config: Config, checkpoint: Path, folder: Path) -> list[Path]:
    """Writes the network that the config evaluates as a plain mmseg segmentor."""
    loaded, config = read_checkpoint(checkpoint), Config(config.to_dict())
    check_num_classes(config)
    plain, network = exported_segmentor(config, loaded, checkpoint)
    meta = loaded.get('meta', {}).get('dataset_meta') or {}
    return write_segmentor(folder / SEGMENTOR, plain, network.state_dict(), meta)


def confidence_note(folder: Path) -> str | None:
    """Says what to do where the confident share stayed low; None where it did not, or there are no pseudo-labels."""
    points = read_curve(folder, 'confident_share')
    last = points[-max(1, len(points) // 10):]
    if not last:
        return None
    share = sum(value for _, value in last) / len(last)
    if share >= LOW_CONFIDENCE:
        return None
    return (f'only {100 * share:.0f} % of the target pixels had confident pseudo-labels at the end, so the adaptation '
            'learned little from the target: train longer (--minutes, --iterations), lower threshold= of the '
            'objectives in configs/adaptation.py (0.9, 0.8) and train with it, or add source images that are more '
            'like the target')


def as_json(evaluations: dict[str, dict[str, dict[str, Scores]]]) -> dict:
    """Returns mean and class IoU by stage, network and normalisation."""
    return {stage: {network: {kind: dict(miou=scores.miou, per_class=scores.per_class)
                              for kind, scores in kinds.items()} for network, kinds in found.items()}
            for stage, found in evaluations.items()}


def notes_of(folder: Path, data: DataDescription, adapted: Path | None) -> list[str]:
    """Collects what a user has to know, a sentence each."""
    notes = list(read_json(folder / NOTES, []))
    if adapted is not None and (low := confidence_note(adapted)):
        notes.append(low)
    if data.validation is None:
        notes.append('there are no target labels, so how good the networks are on the target is not known, and the '
                     'last checkpoint was taken: which one is best cannot be told without labels. Confidence and '
                     'agreement of student and teacher tell whether the training is stable, not whether it is right. '
                     'Twenty labelled target images (--target-labels) are enough for a first score')
    else:
        notes.append('the checkpoint was chosen by the labelled target images that it is scored on, so the score is '
                     'a little too good; for a fair one keep further labelled images apart')
    return notes


def write_summary(folder: Path, summary: dict) -> None:
    """Writes the numbers of the run."""
    write_json(folder / SUMMARY, summary)


def rounded(value: float | None) -> str:
    """Returns percent for a sentence."""
    return 'unknown' if value is None or math.isnan(value) else f'{value:.1f}'
