"""Losses are read by the host once a step; one that is not finite ends the training before anything learns from it."""
from collections.abc import Iterable, Mapping, Sequence

import torch
from mmseg.structures import SegDataSample
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """A loss is NaN or infinite; nothing has been updated from it."""


def read_finite(log: Mapping[str, Tensor], iteration: int, files: Iterable[str]) -> dict[str, Tensor]:
    """Brings all values to the host in one transfer and refuses what is not finite.

    Args:
        log: Scalars by name.
        iteration: Number of the iteration that gave them, from 1 on.
        files: The images of the step, for the message.

    Returns:
        The same values, float64 on the CPU.

    Raises:
        NonFiniteLossError: If a value is NaN or infinite.
    """
    values = torch.stack([value.detach().double() for value in log.values()]).cpu()
    read = dict(zip(log, values.unbind()))
    broken = [f'{name}={float(value)}' for name, value in read.items() if not torch.isfinite(value)]
    if broken:
        raise NonFiniteLossError(
            f'iteration {iteration}: {", ".join(broken)}. Nothing was updated from it. Images of this step: '
            f'{", ".join(files)}. Look at these files (tools/analysis_tools/browse_dataset.py), lower '
            'optim_wrapper.optimizer.lr, or train without --amp.')
    return read


def image_files(data_samples: Sequence[SegDataSample]) -> tuple[str, ...]:
    """Returns the files that samples come from."""
    return tuple(str(sample.metainfo.get('img_path', 'an image without img_path')) for sample in data_samples)
