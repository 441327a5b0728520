"""Says how fast a translation goes and how long it still takes."""
import time
from collections.abc import Callable
from datetime import timedelta

_REPORT_EVERY = 10.0


class Progress:
    """Counts images of one process.

    Args:
        total: Images that this process has to translate now.
        title: What is counted, with the number of the process if there are several.
        report: Takes a line.
        clock: Gives seconds.
    """

    def __init__(self, total: int, title: str, report: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.title, self.report, self.clock = total, title, report, clock
        self.done, self.begin = 0, clock()
        self._last = self.begin

    @property
    def images_per_second(self) -> float:
        """Since the start; 0 before anything is done."""
        return self.done / max(self.clock() - self.begin, 1e-9)

    def add(self, images: int) -> None:
        """Counts finished images; says so every few seconds, and after the last one."""
        self.done += images
        now = self.clock()
        if now - self._last < _REPORT_EVERY and self.done < self.total:
            return
        self._last = now
        left = timedelta(seconds=round((self.total - self.done) / max(self.images_per_second, 1e-9)))
        self.report(f'{self.title}: {self.done} of {self.total} images, {self.images_per_second:.3g} images/s, '
                    + (f'about {left} left' if self.done < self.total
                       else f'finished in {timedelta(seconds=round(now - self.begin))}'))
