"""What every training signal has in common."""
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from ...models.segmentor_protocol import TrainableSegmentor
from ..step_context import StepContext, StudentBatch


class NeededPass(NamedTuple):
    """The training forward of an earlier objective: its name, and what images it has to be of."""

    objective: str
    images: str


class Objective(nn.Module):
    """One training signal: maps the state of a step to a dict of losses.

    Entries whose key contains ``loss`` are summed and back-propagated, the others are only logged. Class attributes
    and properties say what it needs and what it provides; contradictions are refused when the model is built.

    Args:
        name: Prefix of its entries in the log, unique among the objectives of a model.
    """

    # Whether it uses labelled source images; without one that does, a training is source-free.
    needs_source = True
    needs_target = False
    needs_teacher = False
    # Whether it predicts with the student without labels (``predict_student``).
    needs_predictions = False
    # What its training forward shows the student, for objectives that use it again: 'source', 'mixed', or nothing.
    provides: str | None = None

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def needs(self) -> Mapping[str, NeededPass]:
        """Training forwards of earlier objectives that it uses again, by the config key that names them."""
        return {}

    @property
    def corrects(self) -> Mapping[str, NeededPass]:
        """Training forwards of earlier objectives whose logits go through :meth:`correct`, by the config key as above."""
        return {}

    def correct(self, images: str, context: StepContext, batch: StudentBatch, logits_BCHW: Tensor) -> Tensor:
        """Returns the logits that the losses of such a forward see.

        Args:
            images: What images they are of.
            context: The step.
            batch: Images, labels and weights of the forward.
            logits_BCHW: Logits of the main head at the resolution of the labels, with gradient.
        """
        raise NotImplementedError

    def attach(self, student: TrainableSegmentor) -> None:
        """Called once, when the student was built and before the optimiser is: builds what depends on the student."""

    def start_from(self, student: TrainableSegmentor) -> None:
        """Called when the student's weights were initialised, for parts that begin as its copy.

        Builds nothing that is trained or saved.
        """
        for part in self.copies_of_student.values():
            part.copy_from(student.module)

    @property
    def copies_of_student(self) -> Mapping[str, nn.Module]:
        """Submodules that begin as the student, by their names; each has ``copy_from(student)``.

        They follow when the student begins with weights that came for it alone, as ``load_from`` gives them.
        """
        return {}

    @property
    def passes(self) -> Sequence[Callable[[StepContext], dict[str, Tensor]]]:
        """What a step calls, one after the other: each gives losses, which are back-propagated before the next.

        None for an objective that only corrects the losses of others.
        """
        return (self, )

    def forward(self, context: StepContext) -> dict[str, Tensor]:
        """Computes the losses of one step."""
        raise NotImplementedError
