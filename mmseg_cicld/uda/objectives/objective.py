"""What every training signal has in common."""
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from ..step_context import StepContext


class Objective(nn.Module):
    """One training signal: maps the state of a step to a dict of losses.

    Entries whose key contains ``loss`` are summed and back-propagated, the others are only logged.

    Args:
        name: Prefix of its entries in the log, unique among the objectives of a model.
    """

    needs_target = False
    needs_teacher = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def attach(self, student: nn.Module) -> None:
        """Called after the student was built and again after its weights were initialised."""

    @property
    def copies_of_student(self) -> Mapping[str, nn.Module]:
        """Submodules that begin as the student, by their names; each has ``copy_from(student)``.

        They follow when the student begins with weights that came for it alone, as ``load_from`` gives them.
        """
        return {}

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """What a step calls, one after the other: each gives losses, which are back-propagated before the next."""
        return (self, )

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses of one step."""
        raise NotImplementedError
