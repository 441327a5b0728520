"""What is aimed at, and which figures reach it."""
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

RELATIONS = {'<=': operator.le, '>=': operator.ge, '==': operator.eq}
PUBLISHED_GB = {'daformer': 9.7, 'hrda': 22.5}


@dataclass(frozen=True)
class Aim:
    """What figures should be.

    Args:
        items: Pattern of the names of items.
        figures: Pattern of the names of their figures.
        relation: A key of :data:`RELATIONS`.
        bound: What the figure is compared with; None where it is not known.
        reason: Where the bound is from.
    """

    items: str
    figures: str
    relation: str
    bound: float | bool | None
    reason: str

    def text(self) -> str:
        """Says what is aimed at."""
        return self.reason if self.bound is None else f'{self.relation} {self.bound:g}' + f' ({self.reason})' * bool(self.reason)

    def verdict(self, value: object) -> str:
        """Returns ``ok``, ``missed``, or ``not run`` for what has no value."""
        if self.bound is None or value is None:
            return 'not run'
        comparable = isinstance(value, (bool, int, float))
        return 'ok' if comparable and RELATIONS[self.relation](value, self.bound) else 'missed'


AIMS = [
    Aim('parity_float32', 'beyond_tolerance', '<=', 0, 'the tolerances of the tests'),
    Aim('parity_bfloat16', 'losses: relative', '<=', 0.02, 'share of the published float32 losses'),
    Aim('fp16_scaler', '*_right', '==', True, ''),
    Aim('exact_resume', '*.deterministic', '<=', 0, 'bit for bit'),
    Aim('one_process', 'largest_relative_difference*', '<=', 1e-6, ''),
    Aim('inductor', '*.largest_relative_difference', '<=', 1e-3, 'of the losses of three steps'),
    *(Aim(f'step_{method}', '*.peak_gb', '<=', round(0.6 * size, 2), f'60 % of the published {size} GB')
      for method, size in PUBLISHED_GB.items()),
    *(Aim(f'step_{method}', '*.seconds', '<=', None, 'half of the published implementation on the same card, '
          'whose time is not known') for method in PUBLISHED_GB),
    Aim('step_*', '*.busy_share', '>=', 0.9, 'of the time the GPU computes'),
    Aim('step_*', '*.host_waits', '<=', 0, 'beside the reading of the losses'),
    Aim('compiled_*', 'speedup', '>=', 1.3, 'times the step that is not compiled'),
]


def judged(records: dict[str, dict], items: list[str]) -> list[dict]:
    """Returns a row for each figure with its aim and the verdict, and one for each aim of an item without figures."""
    rows = []
    for item in items:
        figures = records.get(item, {}).get('figures') or {}
        if figures:
            rows += [dict(item=item, figure=name, value=value, **_aim_of(item, name, value))
                     for name, value in figures.items()]
        else:
            rows += [dict(item=item, figure=aim.figures, value=None, aim=aim.text(), verdict='not run')
                     for aim in _aims_of(item)]
    return rows


def _aims_of(item: str) -> Iterator[Aim]:
    return (aim for aim in AIMS if fnmatch(item, aim.items))


def _aim_of(item: str, figure: str, value: object) -> dict[str, str]:
    aim = next((aim for aim in _aims_of(item) if fnmatch(figure, aim.figures)), None)
    return dict(aim='', verdict='') if aim is None else dict(aim=aim.text(), verdict=aim.verdict(value))
