"""The network that a config evaluates, alone: for tools that look at it."""
from pathlib import Path

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from .checkpoint_reading import read_checkpoint
from .trained_only import fill_in_frozen


def load_evaluated(cfg: Config, checkpoint: str | Path | None, device: str = 'cpu') -> nn.Module:
    """Builds the segmentor that a config evaluates, in evaluation mode.

    Args:
        cfg: Config of a training, or of a plain segmentor.
        checkpoint: Checkpoint that fits it; None leaves random weights.
        device: Where the network goes.

    Returns:
        The student or teacher of :class:`UDAWrapper`, or the segmentor itself.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        RuntimeError: If its tensors are not those of the model.
    """
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        loaded = read_checkpoint(checkpoint)
        fill_in_frozen(loaded, model, checkpoint)
        model.load_state_dict(loaded.get('state_dict', loaded))
    segmentor = getattr(model, 'evaluated', model).to(device)
    segmentor.train(False)
    return segmentor
