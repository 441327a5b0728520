"""How long a GPU computes during a step, and how often and where the host waits for it."""
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .processes import ROOT
from .records import Setting

WAIT = 'called a synchronizing CUDA operation'
# The one wait that a step is meant to have: all losses are read in one transfer.
READS_LOSSES = 'mmseg_cicld/finite_losses.py'


def busy_seconds(step: Callable[[], object], setting: Setting) -> float | None:
    """Returns for how long at least one kernel or copy ran during a step; None if the profiler saw none.

    Profiling slows the host down, not the kernels: so this is to be divided by the time of a step without it.
    """
    kind, activity = ((DeviceType.CUDA, ProfilerActivity.CUDA) if setting.cuda else
                      (DeviceType.CPU, ProfilerActivity.CPU))
    with profile(activities=[activity]) as seen:
        step()
        if setting.cuda:
            torch.cuda.synchronize()
    spans = [(event.time_range.start, event.time_range.end) for event in seen.events()
             if event.device_type == kind and not getattr(event, 'is_user_annotation', False)]
    return covered(spans) / 1e6 if spans else None


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals."""
    total, reached = 0.0, float('-inf')
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def host_waits(step: Callable[[], object], setting: Setting) -> dict[str, int | str | None]:
    """Counts how often the host waits for the GPU during a step, apart from reading the losses, and names the places.

    Returns:
        Counts, None without a GPU.
    """
    places: Counter[str] = Counter()

    def note(message: Warning | str, *where: object, **more: object) -> None:
        if WAIT in str(message):
            places[_place(traceback.extract_stack()[:-1])] += 1

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = note
        if setting.cuda:
            torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            if setting.cuda:
                torch.cuda.set_sync_debug_mode('default')
    others = {place: count for place, count in places.items() if not place.startswith(READS_LOSSES)}
    counts = dict(host_waits=sum(others.values()), waits_for_losses=places.total() - sum(others.values()))
    return dict({name: count if setting.cuda else None for name, count in counts.items()},
                waits_at=', '.join(f'{place} ({count})' for place, count in others.items()))


def _place(stack: traceback.StackSummary) -> str:
    """Names the innermost line of this project in a stack, else the innermost one."""
    own = [frame for frame in stack if Path(frame.filename).is_relative_to(ROOT / 'mmseg_cicld')]
    frame = (own or [frame for frame in stack if Path(frame.filename).name != 'warnings.py'])[-1]
    path = Path(frame.filename)
    return f'{path.relative_to(ROOT).as_posix() if own else path.name}:{frame.lineno}'
