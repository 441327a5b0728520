"""Checkpoints of the published DAFormer, HRDA and MIC trainings: what is in them, and the networks by today's names."""
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..models.checkpoint_names import CheckpointNameError, reference_to_ours
from .checkpoint_reading import CheckpointError

_DISTRIBUTED = r'(?:module\.)?'
# Start of the names -> what it is. The first that fits counts.
_PARTS = {
    'student': rf'{_DISTRIBUTED}model\.{_DISTRIBUTED}',
    'teacher': rf'{_DISTRIBUTED}ema_model\.{_DISTRIBUTED}',
    'frozen ImageNet network of the feature distance': rf'{_DISTRIBUTED}imnet_model\.{_DISTRIBUTED}',
    'teacher of masked consistency': rf'{_DISTRIBUTED}mic\.teacher\.ema_model\.{_DISTRIBUTED}',
    'discriminator': rf'{_DISTRIBUTED}model_D\.',
}
NETWORKS = ('student', 'teacher')


@dataclass(frozen=True)
class PublishedCheckpoint:
    """The tensors of a published training, sorted by the network that they belong to.

    Args:
        path: The file.
        parts: Name of the part -> tensors by published name, without the prefix of the part.
        meta: ``meta`` of the checkpoint.
    """

    path: str | Path
    parts: dict[str, dict[str, Tensor]]
    meta: dict

    @classmethod
    def of(cls, checkpoint: Mapping, path: str | Path, leave_out: tuple[str, ...] = ()) -> 'PublishedCheckpoint':
        """Sorts the content of a checkpoint.

        Args:
            checkpoint: Its content.
            path: The file.
            leave_out: Starts of the names of tensors that a fork added and nobody wants, such as ``'proto_memory.'``.

        Raises:
            CheckpointError: If a tensor belongs to no known part, two have one name in it, there is no student, or
                no tensor starts with one of ``leave_out``.
        """
        state = checkpoint.get('state_dict', checkpoint)
        parts: dict[str, dict[str, Tensor]] = {}
        unknown = []
        for name, tensor in state.items():
            start = next((start for start in leave_out if name.startswith(start)), None)
            part, inner = _sorted(name) if start is None else (f'tensors that start with {start}', name)
            if part is None:
                unknown.append(name)
            elif inner in parts.setdefault(part, {}):
                raise CheckpointError(path, f'has two tensors {inner} of the {part}')
            else:
                parts[part][inner] = tensor
        if 'student' not in parts:
            starts = ', '.join(sorted({name.split('.')[0] for name in state})[:8])
            raise CheckpointError(path, 'holds no student of a published DAFormer, HRDA or MIC training (no tensor '
                                        f'whose name starts with model.); it has: {starts}')
        if unknown:
            starts = ' '.join(sorted({re.match(rf'{_DISTRIBUTED}[^.]+\.?', name).group() for name in unknown}))
            raise CheckpointError(path, f'has {len(unknown)} tensors that belong to no network of the published '
                                        f'trainings: {", ".join(unknown[:3])}. Leave them out with --leave-out {starts}')
        idle = [start for start in leave_out if f'tensors that start with {start}' not in parts]
        if idle:
            raise CheckpointError(path, f'has no tensor that starts with {idle[0]!r}: correct --leave-out')
        return cls(path, parts, checkpoint.get('meta') or {})

    def network(self, name: str) -> dict[str, Tensor]:
        """Returns student or teacher by the names of mmseg 1.x; every tensor of it is used once.

        Raises:
            CheckpointError: If the checkpoint has no such network, or a name cannot be mapped.
        """
        if name not in self.parts:
            raise CheckpointError(self.path, f'holds no {name}; it has: {", ".join(self.parts)}')
        try:
            return reference_to_ours(self.parts[name])
        except CheckpointNameError as error:
            raise CheckpointError(self.path, str(error)) from error

    def summary(self, used: tuple[str, ...]) -> str:
        """Says a line a part how many tensors it has and whether they are used; those left out on request by name."""
        lines = []
        for part, tensors in self.parts.items():
            lines.append(f'{part}: {len(tensors)} tensors, {"each used once" if part in used else "left out"}')
            lines += [f'  {name}' for name in tensors] if part not in _PARTS else []
        return '\n'.join(lines)


def _sorted(name: str) -> tuple[str | None, str]:
    for part, start in _PARTS.items():
        match = re.match(start, name)
        if match:
            return part, name[match.end():]
    return None, name
