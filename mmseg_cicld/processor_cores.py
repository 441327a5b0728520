"""How many processor cores there are to work with."""
import os


def usable_cores() -> int:
    """Counts the cores that this process may use; where the system does not tell (Windows, macOS), all of them."""
    allowed = getattr(os, 'sched_getaffinity', None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
