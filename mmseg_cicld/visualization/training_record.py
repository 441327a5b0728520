"""What is known of a training over its iterations: recorded by the report's hook, or read from mmengine's logs."""
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..json_files import read_json, write_json

FOLDER, CURVES, LAST_STEP = 'report', 'curves.json', 'last_step.npz'
Curve = dict[int, float | None]


class ReportError(ValueError):
    """A folder holds nothing to report on, or nothing that can be read."""


@dataclass
class TrainingRecord:
    """Curves of one training, each value by the number of finished iterations.

    Args:
        run: What was trained, with what and on what, in words and numbers.
        classes: Names of the classes by id.
        palette: RGB of each class.
        iterations: Finished iterations.
        seconds: Time that they took, validations included and pauses not.
        losses: By name, the means since the value before; those of the first process.
        learning_rate: Of the first group of parameters.
        miou: In percent, of each validation.
        iou: In percent, of each validation and class, None for a class in neither labels nor predictions.
        confident_share: Share of target pixels whose pseudo-label reaches the threshold, in [0, 1].
        confidence: Mean probability of the pseudo-labels or, without a teacher, of the student's labels, in [0, 1].
        agreement: Share of target pixels with equal labels of student and teacher, in [0, 1].
        class_shares: Share of each class in these labels, in [0, 1].
    """

    run: dict = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    palette: list[list[int]] = field(default_factory=list)
    iterations: int = 0
    seconds: float = 0.0
    losses: dict[str, Curve] = field(default_factory=dict)
    learning_rate: Curve = field(default_factory=dict)
    miou: Curve = field(default_factory=dict)
    iou: dict[int, list[float | None]] = field(default_factory=dict)
    confident_share: Curve = field(default_factory=dict)
    confidence: Curve = field(default_factory=dict)
    agreement: Curve = field(default_factory=dict)
    class_shares: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def of_plain(cls, plain: dict) -> 'TrainingRecord':
        """Makes a record of what :meth:`plain` gave, or what became of it in JSON, whose keys are text."""
        known = {name: plain[name] for name in (part.name for part in fields(cls)) if name in plain}
        for name in ('learning_rate', 'miou', 'iou', 'confident_share', 'confidence', 'agreement', 'class_shares'):
            known[name] = _by_iteration(known.get(name, {}))
        known['losses'] = {name: _by_iteration(curve) for name, curve in known.get('losses', {}).items()}
        return cls(**known)

    def plain(self) -> dict:
        """Returns everything in dicts, lists, text and numbers, for JSON and checkpoints."""
        return asdict(self)

    def until(self, iteration: int) -> 'TrainingRecord':
        """Returns what was known after an iteration; a resumed training goes on there."""
        def cut(curve: dict) -> dict:
            return {at: value for at, value in curve.items() if at <= iteration}

        plain = self.plain()
        curves = {name: cut(getattr(self, name)) for name in plain if isinstance(plain[name], dict)
                  and name not in ('run', 'losses')}
        losses = {name: cut(curve) for name, curve in self.losses.items()}
        return TrainingRecord(**dict(plain, **curves, losses=losses, iterations=min(self.iterations, iteration)))

    def write(self, work_dir: Path) -> None:
        """Writes ``WORK_DIR/report/curves.json``."""
        write_json(work_dir / FOLDER / CURVES, self.plain())


def read_record(work_dir: Path) -> TrainingRecord:
    """Reads what the report's hook has recorded or, of a training without it, what mmengine has logged.

    Args:
        work_dir: Folder of a training.

    Raises:
        ReportError: If the folder holds neither, or a file in it cannot be read.
    """
    file = work_dir / FOLDER / CURVES
    try:
        if file.is_file():
            return TrainingRecord.of_plain(read_json(file, {}))
        logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
        lines = [json.loads(line) for log in logs for line in log.read_text(encoding='utf-8').splitlines() if line]
    except (TypeError, ValueError) as error:
        raise ReportError(f'a record of {work_dir} cannot be read ({error}): delete {file} to report from the logs of '
                          'mmengine alone') from error
    if not lines:
        raise ReportError(f'{work_dir} holds no training: there is neither {FOLDER}/{CURVES} nor */vis_data/scalars.json '
                          'of mmengine. Give the work dir of a training')
    return _of_logs(lines)


def _of_logs(lines: list[dict]) -> TrainingRecord:
    """Reads what mmengine's LocalVisBackend has written, run after run, so that a resumed one replaces what it redid."""
    record = TrainingRecord()
    for line in lines:
        at = int(line.get('iter', line.get('step', 0)))
        if not at:  # a test
            continue
        score = next((value for name, value in line.items() if name.split('/')[-1] == 'mIoU'), None)
        if score is not None:
            record.miou[at] = score
        for name, value in line.items():
            if 'loss' in name and score is None:
                record.losses.setdefault(name, {})[at] = value
            if name.endswith('confident_share'):
                record.confident_share[at] = value
        if 'lr' in line:
            record.learning_rate[at] = line.get('base_lr', line['lr'])
        record.iterations = max(record.iterations, at)
    return record


def _by_iteration(curve: dict) -> dict:
    return {int(iteration): value for iteration, value in sorted(curve.items(), key=lambda item: int(item[0]))}
