"""A comparison: rows of one table, each a training with several seeds, from one file."""
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger

from ..config_keys import check_contradictions
from .checkpoint_reading import CheckpointError
from .checkpoint_writing import write_checkpoint
from .comparison_folder import ComparisonError, check_settings, folder_of, read_result
from .resuming import newest_valid_checkpoint
from .stages import DEFAULT_HAND_OVER, HANDED_OVER, renamed_weights
from .trained_only import read_whole_checkpoint


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        name: Unique name, printed in the table and used as the name of a folder.
        config: Training config.
        options: Changes of the config, as ``--cfg-options`` has them.
        begin_with: Name of an earlier row whose weights (of the same seed) this one begins with.
        hand_over: Which weights it takes over, see :class:`~mmseg_cicld.engine.stages.Stage`; None: what the config
            says.
        evaluates: Name of an earlier row whose last checkpoint (of the same seed) is evaluated with the config and
            options of this one, which trains nothing.
    """

    name: str
    config: str
    options: Mapping[str, object] = field(default_factory=dict)
    begin_with: str | None = None
    hand_over: Mapping[str, str] | None = None
    evaluates: str | None = None

    @property
    def after(self) -> str | None:
        """Name of the row that has to be finished before this one."""
        return self.begin_with or self.evaluates


@dataclass(frozen=True)
class Comparison:
    """A table: its rows, the seeds each of them is trained with, and the metric that is read.

    Args:
        rows: In the order of the table; a row stands behind the one that it begins with.
        seeds: Values of ``randomness.seed``.
        metric: Name of the metric in the log of the evaluation.
        reference: Name of the row that the others are compared with, seed by seed; None for no such column.
    """

    rows: Sequence[Row]
    seeds: Sequence[int] = (0, 1, 2)
    metric: str = 'mIoU'
    reference: str | None = None

    @classmethod
    def from_file(cls, file: str | Path, seeds: Sequence[int] | None = None) -> 'Comparison':
        """Reads ``rows`` (a list of dicts), ``seeds``, ``metric``, ``reference`` and ``options`` (of all rows) of a file.

        ``seeds`` replaces those of the file.

        Raises:
            ComparisonError: If the file has no rows, a key is unknown, two names have one folder, a row begins with or
                evaluates one that does not stand before it, a row hands over what no row gives, or the reference is no
                row.
        """
        content = Config.fromfile(str(file)).to_dict()
        shared = content.get('options', {})
        try:
            rows = [Row(**{**row, 'options': {**shared, **row.get('options', {})}}) for row in content.get('rows', ())]
        except TypeError as error:
            raise ComparisonError(f'{file}: a row of `rows` is wrong ({error}); a row has '
                                  f'{", ".join(Row.__dataclass_fields__)}') from error
        names = [row.name for row in rows]
        if not rows or len({folder_of(Path(), name, 0) for name in names}) < len(names):
            raise ComparisonError(f'{file}: `rows` has the names {names}; give at least one row, each with another '
                                  'name (a space, "/" and "_" count as alike)')
        for index, row in enumerate(rows):
            _check_order(file, row, rows[:index])
        chosen = {key: content[key] for key in ('seeds', 'metric', 'reference') if key in content}
        if chosen.get('reference') not in (None, *names):
            raise ComparisonError(f'{file}: reference={chosen["reference"]!r} is none of the rows {names}')
        return cls(rows, **(chosen if seeds is None else {**chosen, 'seeds': seeds}))

    @cached_property
    def settings(self) -> dict[str, dict]:
        """By the name of the row: all that decides over its trainings but the seed, as plain JSON.

        Raises:
            ComparisonError: If the config of a row cannot be read, or its options do not fit.
        """
        found = {}
        for row in self.rows:
            try:
                config, hand_over = _config_and_hand_over(row)
            except (OSError, KeyError, TypeError, ValueError) as error:
                raise ComparisonError(f'the row {row.name!r} with {row.config}: {error}') from error
            begin = row.begin_with and dict(hand_over=hand_over, settings=found[row.begin_with])
            content = dict(config=config.to_dict(), metric=self.metric, begin_with=begin)
            if row.evaluates is not None:
                content['evaluates'] = found[row.evaluates]
            found[row.name] = json.loads(json.dumps(content, default=str))
        return found


def _check_order(file: str | Path, row: Row, before: Sequence[Row]) -> None:
    names = [other.name for other in before]
    if row.after is not None and row.after not in names:
        verb = 'evaluates' if row.begin_with is None else 'begins with'
        raise ComparisonError(f'{file}: the row {row.name!r} {verb} {row.after!r}, which is none of the rows before it: '
                              f'{names}')
    evaluations = [other.name for other in before if other.evaluates is not None]
    if row.after in evaluations or None not in (row.begin_with, row.evaluates):
        raise ComparisonError(f'{file}: the row {row.name!r} has begin_with={row.begin_with!r} and evaluates='
                              f'{row.evaluates!r}; give one of them, the name of a row that is trained')
    if row.hand_over is not None and row.begin_with is None:
        raise ComparisonError(f'{file}: the row {row.name!r} has hand_over={dict(row.hand_over)} and begins with no other '
                              'row; set begin_with, or remove hand_over')


def training_config(row: Row, seed: int, folder: Path, before: Path | None) -> Config:
    """Returns the config of one training or evaluation.

    Args:
        row: What is trained or evaluated.
        seed: Its ``randomness.seed``.
        folder: Its folder.
        before: Folder of the training that it begins with or evaluates.

    Raises:
        CheckpointError: If there is no checkpoint, or none of its weights is handed over.
        ComparisonError: If an evaluation has no validation data.
    """
    config, hand_over = _config_and_hand_over(row)
    config.merge_from_dict({'randomness.seed': seed})
    config.work_dir = str(folder)
    if before is not None:
        checkpoint = newest_valid_checkpoint(before, MMLogger.get_current_instance())
        if checkpoint is None:
            raise CheckpointError(before, f'has no checkpoint for the row {row.name!r}')
        if row.evaluates is not None:
            if config.get('val_dataloader') is None:
                raise ComparisonError(f'the row {row.name!r} with {row.config} has no val_dataloader to be evaluated by')
            config.load_from = str(checkpoint)
            # The other rows have been validated by these.
            config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
            config.setdefault('test_cfg', {})
            return config
        state = renamed_weights(read_whole_checkpoint(checkpoint)['state_dict'], hand_over)
        if not state:
            raise CheckpointError(checkpoint, f'has no weights that begin with {list(hand_over)}: correct hand_over of '
                                              f'the row {row.name!r}')
        write_checkpoint(dict(state_dict=state), folder / HANDED_OVER)
        config.load_from = str(folder / HANDED_OVER)
    return config


def _config_and_hand_over(row: Row) -> tuple[Config, dict[str, str]]:
    config = Config.fromfile(row.config)
    hand_over = config.pop('hand_over', DEFAULT_HAND_OVER)
    check_contradictions(row.options)
    config.merge_from_dict(dict(row.options))
    return config, dict(hand_over if row.hand_over is None else row.hand_over)


def table(comparison: Comparison, work_dir: Path) -> str:
    """Returns the Markdown table of what is finished: each seed, mean and standard deviation (n - 1).

    With a reference, a column has the mean of the differences to it, seed by seed, and their 95 % confidence interval.
    Results of other settings than those of the comparison are not in it.
    """
    heads = ['', *(f'seed {seed}' for seed in comparison.seeds), 'mean ± deviation', 'seconds']
    results = {row.name: [_current_result(folder_of(work_dir, row.name, seed), comparison.settings[row.name])
                          for seed in comparison.seeds] for row in comparison.rows}
    lines = [[row.name, *_cells(results[row.name])] for row in comparison.rows]
    if comparison.reference is not None:
        heads.append(f'minus {comparison.reference}')
        for line in lines:
            line.append('' if line[0] == comparison.reference else
                        _difference(results[line[0]], results[comparison.reference]))
    return '\n'.join(['| ' + ' | '.join(heads) + ' |', '|---' * len(heads) + '|',
                      *('| ' + ' | '.join(line) + ' |' for line in lines)])


def paired_interval(values: Sequence[float], references: Sequence[float]) -> tuple[float, float, float]:
    """Returns mean, lower and upper end of the 95 % confidence interval of paired differences (Student's t).

    Args:
        values: Results, at least two.
        references: Results of the same seeds that they are compared with.
    """
    from scipy.stats import t  # comes with mmsegmentation; loads on use, since few need it
    differences = [value - reference for value, reference in zip(values, references, strict=True)]
    count, mean = len(differences), statistics.mean(differences)
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(differences) / count**0.5
    return mean, mean - half, mean + half


def _current_result(folder: Path, settings: Mapping) -> dict[str, float | None] | None:
    try:
        check_settings(folder, settings)
    except ComparisonError:  # the caller has said so
        return None
    return read_result(folder)


Results = Sequence[Mapping[str, float | None] | None]


def _cells(results: Results) -> list[str]:
    values = [result['value'] for result in results if result is not None and result['value'] is not None]
    cells = ['-' if result is None else f'{result["value"]:.1f}' for result in results]
    spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
    mean = f'{statistics.mean(values):.1f}{spread}' if values else '-'
    times = [result['seconds'] for result in results if result is not None and result['seconds'] is not None]
    return [*cells, mean, f'{statistics.median(times):.0f}' if times else '-']


def _difference(results: Results, references: Results) -> str:
    pairs = [(result['value'], reference['value']) for result, reference in zip(results, references, strict=True)
             if result is not None and reference is not None]
    if len(pairs) < 2:
        return '-'
    return '{:+.2f} [{:+.2f}, {:+.2f}]'.format(*paired_interval(*zip(*pairs)))
