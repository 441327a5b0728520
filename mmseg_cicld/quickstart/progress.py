"""One line of progress: the stage, how far it is, and the time that is left for it and for the whole."""
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

_BAR = 20
_LINE_WIDTH = 118


@dataclass
class _Stage:
    planned: float
    text: str
    began: float | None = None
    first_update: float = 0.0
    first: int = 0
    done: int = 0
    total: int = 1
    seconds: float | None = None
    skipped: bool = False


class Progress:
    """Shows stages with remaining times.

    On a terminal the line is rewritten in place, elsewhere (log files) a new line appears every ``log_every`` seconds.

    Args:
        stream: Where to print.
        log_every: Seconds between two lines if ``stream`` is not a terminal.
        clock: Gives seconds.
    """

    def __init__(self, stream: TextIO, log_every: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._log_every, self._clock = stream, log_every, clock
        self._terminal = stream.isatty()
        self._stages: dict[str, _Stage] = {}
        self._last_print = float('-inf')

    def plan(self, name: str, text: str, seconds: float) -> None:
        """Adds a stage; ``seconds`` is how long it takes on the machine that the plan was made on."""
        self._stages[name] = _Stage(seconds, text)

    def start(self, name: str) -> None:
        """Begins a stage."""
        self._stages[name].began = self._clock()
        self._last_print = float('-inf')

    def update(self, name: str, done: int, total: int, unit: str) -> None:
        """Shows how far a stage is; speed is measured from the first update on, since starting takes time too."""
        stage, now = self._stages[name], self._clock()
        if stage.done == 0:
            stage.first, stage.first_update = done, now
        stage.done, stage.total = done, total
        if now - self._last_print >= (0.2 if self._terminal else self._log_every):
            self._last_print = now
            bar = '#' * round(_BAR * done / total)
            self._print(f'{self._head(name)} [{bar:.<{_BAR}}] {done}/{total} {unit}, '
                        f'{_clock_text(self._stage_left(stage))} left, '
                        f'whole quick start {self.remaining()} left', end=False)

    def finish(self, name: str, result: str) -> None:
        """Ends a stage."""
        stage = self._stages[name]
        stage.seconds = self._clock() - stage.began
        self._print(f'{self._head(name)} {result} ({_clock_text(stage.seconds)})', end=True)

    def skip(self, name: str, why: str) -> None:
        """Notes that a stage needs no work."""
        self._stages[name].skipped = True
        self._print(f'{self._head(name)} {why}', end=True)

    def seconds(self, name: str) -> float:
        """Time since a stage began, or that it took."""
        stage = self._stages[name]
        return self._clock() - stage.began if stage.seconds is None else stage.seconds

    def remaining(self) -> str:
        """Time left for all stages, from the plan and from how fast this machine has been so far."""
        return _clock_text(sum(self._stage_left(stage) for stage in self._stages.values()))

    def _stage_left(self, stage: _Stage) -> float:
        if stage.skipped or stage.seconds is not None:
            return 0.0
        worked = stage.done - stage.first
        if worked < 3:
            return stage.planned * self._slowness() * (1 - stage.done / stage.total)
        return (self._clock() - stage.first_update) / worked * (stage.total - stage.done)

    def _slowness(self) -> float:
        """Time taken over time planned, in the stages that ended or are well under way."""
        taken = planned = 0.0
        for stage in self._stages.values():
            share = 1 - stage.first / stage.total if stage.seconds else (stage.done - stage.first) / stage.total
            if stage.seconds is not None or share > 0.05:
                taken += self._clock() - stage.first_update if stage.seconds is None else stage.seconds
                planned += stage.planned * share
        return taken / planned if planned else 1.0

    def _head(self, name: str) -> str:
        return f'[{list(self._stages).index(name) + 1}/{len(self._stages)}] {self._stages[name].text:<24}'

    def _print(self, line: str, end: bool) -> None:
        if self._terminal:
            self._stream.write(f'\r{line:<{_LINE_WIDTH}}' + ('\n' if end else ''))
        else:
            self._stream.write(line + '\n')
        self._stream.flush()


def _clock_text(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'
