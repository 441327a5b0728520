"""The scores that a report compares."""
from collections.abc import Mapping
from dataclasses import dataclass

from .training_record import TrainingRecord

SOURCE_ONLY, ADAPTED, THIS, ORACLE = 'source-only', 'adapted', 'this training', 'oracle'


@dataclass(frozen=True)
class Score:
    """Mean IoU and IoU by class name, in percent; no classes where they are not known."""

    miou: float
    iou: Mapping[str, float | None]


@dataclass(frozen=True)
class Results:
    """Scores by name.

    Args:
        own: Name of the training that the report is about.
        scores: Of this training, of those it is compared with, and of further networks.
    """

    own: str
    scores: Mapping[str, Score]

    @property
    def gap_share(self) -> float | None:
        """Share of the gap between source-only and oracle that was closed; None without all three, or without a gap."""
        if not {SOURCE_ONLY, self.own, ORACLE} <= set(self.scores):
            return None
        source, own, oracle = (self.scores[name].miou for name in (SOURCE_ONLY, self.own, ORACLE))
        return (own - source) / (oracle - source) if oracle > source else None


def gather_results(record: TrainingRecord, others: Mapping[str, TrainingRecord],
                   evaluations: Mapping[str, Mapping]) -> Results:
    """Takes scores from evaluations and, where there are none, from the last validation of a training."""
    own = ADAPTED if record.run.get('target') or ADAPTED in evaluations else THIS
    trainings = {SOURCE_ONLY: others.get(SOURCE_ONLY), own: record, ORACLE: others.get(ORACLE)}
    scores: dict[str, Score] = {}
    for name, training in trainings.items():
        if name in evaluations:
            scores[name] = _given(evaluations[name])
        elif training is not None and (last := _last_score(training)) is not None:
            scores[name] = last
    return Results(own, scores | {name: _given(each) for name, each in evaluations.items() if name not in scores})


def _given(evaluation: Mapping) -> Score:
    return Score(float(evaluation['miou']), dict(evaluation.get('iou') or {}))


def _last_score(record: TrainingRecord) -> Score | None:
    known = {at: value for at, value in record.miou.items() if value is not None}
    if not known:
        return None
    last = max(known)
    return Score(known[last], dict(zip(record.classes, record.iou.get(last, ()))))
