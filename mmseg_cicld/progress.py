"""How far work is and how long it still takes: a live bar of rich on a terminal, elsewhere a line every few seconds."""
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress as Bars
from rich.progress import TextColumn

REPORT_EVERY = 10.0
_REDRAW_EVERY = 0.2
_FEW = 3  # units after which the measured speed says more than the plan


@dataclass
class _Stage:
    planned: float | None
    text: str
    number: int
    first: int | None = None
    done: int = 0
    total: int = 1
    began: float | None = None
    seconds: float | None = None
    skipped: bool = False

    @property
    def worked(self) -> int:
        """Units since the first that was heard of: starting takes time too, and some may have been done before."""
        return 0 if self.first is None else self.done - self.first


class Progress:
    """Counts the work of one or several stages; use it in a ``with`` statement where it may draw on a terminal.

    Args:
        report: Takes a line.
        terminal: Draws a bar there instead, if it is one.
        whole: What all stages together are called.
        report_every: Seconds between two lines.
        clock: Gives seconds.
    """

    def __init__(self, report: Callable[[str], None], terminal: TextIO | None = None, whole: str = 'all',
                 report_every: float = REPORT_EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = terminal is not None and terminal.isatty()
        self._console = Console(file=terminal, highlight=False, markup=False) if self._live else None
        self._report = partial(self._console.print, soft_wrap=True) if self._live else report
        self._whole, self._clock = whole, clock
        self._every = _REDRAW_EVERY if self._live else report_every
        self._bars = Bars(TextColumn('{task.description}', markup=False), BarColumn(20),
                          TextColumn('{task.fields[state]}', markup=False), console=self._console,
                          auto_refresh=False, get_time=clock, disable=not self._live,
                          speed_estimate_period=math.inf, redirect_stdout=False, redirect_stderr=False)
        self._stages: dict[str, _Stage] = {}
        self._last_line = -math.inf

    def __enter__(self) -> 'Progress':
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def plan(self, name: str, text: str, seconds: float | None = None) -> None:
        """Adds a stage; ``seconds`` is how long it takes on the machine that the plan was made on, if there is one."""
        number = self._bars.add_task(text, total=None, visible=False, start=False, state='')
        self._stages[name] = _Stage(seconds, text, number)

    def expect(self, name: str, seconds: float) -> None:
        """Says how long a stage takes where that is known only after it was planned."""
        self._stages[name].planned = seconds

    def start(self, name: str) -> None:
        """Begins a stage."""
        self._stages[name].began = self._clock()
        # Where a bar is drawn, it is drawn at once.
        self._last_line = -math.inf if self._live or len(self._stages) > 1 else self._clock()
        self._bars.start_task(self._stages[name].number)

    def update(self, name: str, done: int, total: int, unit: str) -> None:
        """Says how far a stage is."""
        stage, now = self._stages[name], self._clock()
        stage.first = done if stage.first is None else stage.first
        stage.done, stage.total = done, total
        self._bars.update(stage.number, completed=done, total=total)
        if now - self._last_line >= self._every or (done == total and len(self._stages) == 1):
            self._last_line = now
            self._show(stage, f'{done}/{total} {unit}', unit)

    def finish(self, name: str, result: str) -> None:
        """Ends a stage."""
        stage = self._stages[name]
        stage.seconds = self._clock() - stage.began
        self._end(stage, f'{result} ({_clock_text(stage.seconds)})')

    def skip(self, name: str, why: str) -> None:
        """Notes that a stage needs no work."""
        self._stages[name].skipped = True
        self._end(self._stages[name], why)

    def seconds(self, name: str) -> float:
        """Time since a stage began, or that it took."""
        stage = self._stages[name]
        return self._clock() - stage.began if stage.seconds is None else stage.seconds

    def speed(self, name: str) -> float:
        """Units a second of a stage since its first update; 0 before there are any."""
        return self._bars.tasks[self._stages[name].number].speed or 0.0

    def remaining(self) -> str:
        """Time left for all stages, from the plan and from how fast this machine has been so far."""
        return _clock_text(sum(self._left(name) for name in self._stages))

    def _left(self, name: str) -> float:
        stage = self._stages[name]
        if stage.skipped or stage.seconds is not None:
            return 0.0
        if stage.planned is not None and stage.worked < _FEW:
            return stage.planned * self._slowness() * (1 - stage.done / stage.total)
        return (stage.total - stage.done) / (self.speed(name) or math.inf)

    def _slowness(self) -> float:
        """Time taken over time planned, in the stages that ended or are well under way."""
        taken = planned = 0.0
        for name, stage in self._stages.items():
            first = stage.first or 0
            share = 1 - first / stage.total if stage.seconds else stage.worked / stage.total
            if stage.seconds is not None or share > 0.05:
                taken += stage.worked / (self.speed(name) or math.inf) if stage.seconds is None else stage.seconds
                planned += (stage.planned or 0.0) * share
        return taken / planned if planned else 1.0

    def _show(self, stage: _Stage, counted: str, unit: str) -> None:
        name = next(name for name, one in self._stages.items() if one is stage)
        speed = f'{self.speed(name):.3g} {unit}/s'
        if len(self._stages) > 1:
            state = f'{counted}, {_clock_text(self._left(name))} left, {self._whole} {self.remaining()} left'
        elif stage.done < stage.total:
            state = f'{counted}, {_clock_text(self._left(name))} left, {speed}'
        else:
            state = f'{counted}, finished in {_clock_text(self.seconds(name))}, {speed}'
        if self._live:
            self._bars.update(stage.number, description=self._head(stage), state=state, visible=True)
            self._bars.refresh()
        else:
            self._report(f'{self._head(stage)} {state}')

    def _end(self, stage: _Stage, result: str) -> None:
        self._bars.update(stage.number, visible=False)
        self._report(f'{self._head(stage)} {result}')

    def _head(self, stage: _Stage) -> str:
        if len(self._stages) == 1:
            return f'{stage.text}:'
        return f'[{list(self._stages.values()).index(stage) + 1}/{len(self._stages)}] {stage.text:<24}'


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{rest:02d}' if minutes >= 60 else f'{minutes}:{rest:02d}'
