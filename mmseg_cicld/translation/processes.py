"""What the processes of one translation tell each other: that they have come this far, and what they have counted."""
import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from .errors import TranslationError

_PATIENCE = datetime.timedelta(days=30)  # shares of the work can take very different times


class Processes:
    """The processes that work together; one alone without ``torch.distributed``.

    Args:
        group: Through which they talk; None for one process.
    """

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        self.group = group
        self.rank, self.count = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))

    def wait(self) -> None:
        """Waits until all processes are here."""
        self.gather(None)

    def gather(self, value: Any) -> list:
        """Gives every process the values of all, in their order."""
        if self.group is None:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value, group=self.group)
        return values


@contextmanager
def all_processes() -> Iterator[Processes]:
    """Joins all processes of ``torch.distributed``, on the CPU and with patience.

    Raises:
        TranslationError: If torchrun has started several processes that do not know of each other.
    """
    if not dist.is_initialized():
        if int(os.environ.get('WORLD_SIZE', 1)) > 1:
            raise TranslationError(f'torchrun has started {os.environ["WORLD_SIZE"]} processes, each of which would do '
                                   'all the work: add --launcher pytorch')
        yield Processes(None)
        return
    group = dist.new_group(backend='gloo', timeout=_PATIENCE)
    try:
        yield Processes(group)
    finally:
        dist.destroy_process_group(group)
