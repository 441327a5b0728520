"""What a tuning is: it says which parameters of a backbone learn, and brings those that learn beside them."""
from typing import Protocol

from torch import nn


class Tuning(Protocol):
    """Tunes a backbone; registered in mmseg's ``MODELS`` and named in ``tuning=dict(type=...)`` of ``TunedBackbone``."""

    def attach(self, backbone: nn.Module) -> nn.Module:
        """Takes the gradients from what stays as it is, once, before the weights are loaded.

        Args:
            backbone: The backbone. Names and shapes of its parameters have to stay as they are.

        Returns:
            What learns beside it.

        Raises:
            ValueError: If the backbone cannot be tuned so.
        """

    @property
    def mergeable(self) -> bool:
        """Whether :meth:`merge` leaves a backbone that computes by itself what it computed with what learns beside it."""

    def merge(self, backbone: nn.Module) -> None:
        """Brings what was learnt into the parameters of the backbone; only what is :attr:`mergeable` needs it."""
