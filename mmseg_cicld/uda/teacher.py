"""The teacher: an exponential moving average (EMA) of the student's parameters."""
import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..models.segmentor_protocol import TrainableSegmentor
from ..sharded_tensors import local_part


class EMATeacher(nn.Module):
    """Holds the averaged segmentor and predicts on clean target images.

    Parameters are averaged with ``min(1 - 1 / (t + 1), momentum)``, so the first update copies the student.
    Buffers are the teacher's own: its batch norms use the statistics of the batch that it sees, because it stays in
    training mode with dropout and drop path switched off (DACS, Tranheden et al., WACV 2021, and DAFormer,
    Hoyer et al., CVPR 2022, as their published implementation does it).

    What no training changes (the frozen part of a ``TunedBackbone``) is the student's own, parameters and buffers: the
    average of equal values is that value, and memory holds it once.

    Args:
        student: The segmentor to average.
        momentum: Upper bound of the averaging factor, in [0, 1). EMA momentum of the papers, 0.999 for DAFormer.
        flip: Labels follow from the mean of the probabilities of an image and of its mirror image (VFM-UDA++).

    Raises:
        ValueError: If ``momentum`` is not in [0, 1).
    """

    def __init__(self, student: nn.Module, momentum: float = 0.999, flip: bool = False) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f'model.teacher.momentum is {momentum}, allowed are values in [0, 1)')
        self.momentum, self.flip = momentum, flip
        frozen = TrainableSegmentor(student).frozen_state
        self._frozen_names = frozenset(frozen)
        self.network = copy.deepcopy(student, {id(tensor): tensor for tensor in frozen.values()})
        self.network.requires_grad_(False)

    def train(self, mode: bool = True) -> 'EMATeacher':
        """Sets the mode, but leaves dropout and drop path off."""
        super().train(mode)
        for module in self.modules():
            # mmcv, timm and each network of transformers have a DropPath class of their own, so the name decides.
            if isinstance(module, (nn.modules.dropout._DropoutNd, nn.MultiheadAttention)) \
                    or type(module).__name__.lower().endswith('droppath'):
                module.training = False
        return self

    def share_with(self, student: nn.Module) -> None:
        """Shares what no training changes once more, after torch has moved buffers to another device one by one."""
        TrainableSegmentor(self.network).share_frozen(student)

    def copy_from(self, student: nn.Module) -> None:
        """Copies parameters and buffers of the student, used once after its weights were initialised."""
        self.network.load_state_dict(student.state_dict())

    @torch.no_grad()
    def update(self, student: nn.Module, updates: int) -> None:
        """Moves the average towards the student.

        Args:
            student: The segmentor to average.
            updates: Number t >= 0 of optimiser updates that the student has had.
        """
        factor = min(1 - 1 / (updates + 1), self.momentum)
        # What no training changes is the student's own tensor or, where backbones are sharded, equal to it.
        pairs = [(local_part(own), local_part(new)) for (name, own), new in zip(
            self.network.named_parameters(), student.parameters()) if own is not new and name not in self._frozen_names]
        own, new = map(list, zip(*pairs))
        if factor == 0:
            torch._foreach_copy_(own, new)
        else:
            torch._foreach_mul_(own, factor)
            torch._foreach_add_(own, new, alpha=1 - factor)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args) -> None:
        # The student's have been loaded; another value of the same tensors would change them.
        for name, own in TrainableSegmentor(self.network).frozen_state.items():
            loaded = state_dict.get(f'{prefix}network.{name}')
            if loaded is not None and loaded.shape == own.shape and not torch.equal(loaded.to(own), own):
                raise ValueError(f"{prefix}network.{name} differs from the student's, which a tuned backbone does not "
                                 'train and the teacher shares: the weights are those of another training. Leave the '
                                 "teacher's out of the file, and it begins as a copy of the student")
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Returns logits, float [B, classes, H, W], of normalised images at input resolution, without autograd."""
        return TrainableSegmentor(self.network).predict(images_BCHW)

    @torch.no_grad()
    def labels_and_confidence(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns labels int64 [B, H, W] of normalised images and the probability of each, without autograd."""
        rule, logits_BCHW = TrainableSegmentor(self.network).label_rule, self.logits(images_BCHW)
        if not self.flip:
            return rule.labels_and_confidence(logits_BCHW)
        mirrored_BCHW = self.logits(images_BCHW.flip(3)).flip(3)
        return rule.read((rule.probabilities(logits_BCHW) + rule.probabilities(mirrored_BCHW)) / 2)

    @torch.no_grad()
    def features(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the feature maps [B, C, h, w] of whole normalised images, finest first, without autograd.

        Those of the backbone, or of the neck if there is one; of two scales (HRDA), those of the context.
        """
        network = TrainableSegmentor(self.network)
        return network.encode(network.views(images_BCHW, (0.0, 0.0))[0]).levels
