"""summary.json and report.html of the quick start."""
from pathlib import Path

import torch

from ..visualization import Example, save_examples, write_training_report
from ..visualization.run_facts import versions
from .evaluation import Scores
from .options import QuickstartOptions

SUMMARY, REPORT = 'summary.json', 'report.html'


def summarise(options: QuickstartOptions, source_only: Scores, adapted: Scores, seconds: dict[str, float]) -> dict:
    """Collects the numbers of a run; mean IoU and IoU in percent, None for a class that does not occur."""
    return dict(
        source_only_miou=source_only.miou,
        adapted_miou=adapted.miou,
        seed=options.seed,
        iterations=dict(source_only=options.source_iters, adaptation=options.adapt_iters),
        images_per_domain=options.images,
        seconds=round(sum(seconds.values()), 1),
        seconds_by_stage={stage: round(value, 1) for stage, value in seconds.items()},
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads',
        versions=versions(),
        per_class={name: dict(source_only=value, adapted=adapted.per_class[name])
                   for name, value in source_only.per_class.items()})


def write_quickstart_report(options: QuickstartOptions, source_folder: Path, checkpoint: Path, source_only: Scores,
                            adapted: Scores) -> None:
    """Writes the report of the adaptation, with predictions and scores of both networks."""
    examples = [Example(before.image, before.label, {'source-only': before.prediction, 'adapted': after.prediction})
                for before, after in zip(source_only.examples, adapted.examples)]
    save_examples(checkpoint.parent, examples, checkpoint.name)
    scores = {'source-only': source_only, 'adapted': adapted}
    write_training_report(checkpoint.parent, source_only=source_folder, path=options.work_dir / REPORT, evaluations={
        name: dict(miou=each.miou, iou=each.per_class) for name, each in scores.items()})
