"""One training forward of a segmentor by its protocol, and its prediction."""
from collections.abc import Sequence

from torch import Tensor, nn

from mmseg_cicld.models.segmentor_protocol import TrainableSegmentor, TrainingOutput


def train_forward(segmentor: nn.Module, images: Tensor, labels: Tensor, weights: Tensor | None = None,
                  draws: Sequence[float] = (0.0, 0.0), seeds: Sequence[int] | None = None) -> TrainingOutput:
    """Gives losses and logits of a forward whose views are placed by ``draws``."""
    network = TrainableSegmentor(segmentor)
    features = [network.encode(view) for view in network.views(images, draws)]
    return network.losses(features, labels, weights, seeds)


def predict_logits(segmentor: nn.Module, images: Tensor) -> Tensor:
    """Gives the logits of a prediction."""
    return TrainableSegmentor(segmentor).predict(images)
