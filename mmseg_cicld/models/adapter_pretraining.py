"""Pre-training of a ViT adapter by classification, with the transformer as it is (VFM-UDA++, Englert and Dubbelman, 2025).

Shape suffixes: B images, C channels, H and W size, K classes.
"""
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AdapterPretraining(BaseModel):
    """Trains what stands beside the transformer of a segmentor's backbone to classify whole images.

    The means of the four maps, side by side, go through one linear layer. What is published of the recipe is that the
    adapter learns 50 000 steps of ImageNet-1k at 1024 pixels with a frozen transformer; the form of the classifier is ours.
    A checkpoint has the names of a training, so that ``load_from`` takes it; neck and heads in it are random.

    Args:
        network: Config of the segmentor, whose backbone has a ``transformer`` and ``out_channels``.
        num_classes: K.
        data_preprocessor: Has to be None: the segmentor has one.

    Raises:
        ValueError: If nothing stands beside a transformer.
    """

    def __init__(self, network: Mapping, num_classes: int, data_preprocessor: None = None) -> None:
        if data_preprocessor is not None:
            raise ValueError('AdapterPretraining has no data_preprocessor of its own: move it into model.network')
        student = MODELS.build(network)
        if not hasattr(student.backbone, 'transformer'):
            raise ValueError(f'model.network.backbone is a {type(student.backbone).__name__}, in which nothing stands beside a '
                             'transformer: give a ViTAdapterBackbone')
        super().__init__(data_preprocessor=student.data_preprocessor)
        self.student = student
        student.requires_grad_(False)
        student.backbone.requires_grad_(True)
        student.backbone.transformer.requires_grad_(False)
        self.classifier = nn.Linear(sum(student.backbone.out_channels), num_classes)

    def train(self, mode: bool = True) -> 'AdapterPretraining':
        """Sets the mode; the transformer stays in evaluation mode."""
        super().train(mode)
        self.student.backbone.transformer.eval()
        return self

    def forward(self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor'
                ) -> Tensor | dict[str, Tensor]:
        """Returns logits [B, K] of normalised images, or in mode ``'loss'`` the cross entropy and the share that is right.

        Args:
            inputs: Normalised images, float [B, 3, H, W].
            data_samples: With ``class_id`` in mode ``'loss'``.
            mode: ``'tensor'`` or ``'loss'``.

        Raises:
            ValueError: For another mode: there is nothing to segment yet.
        """
        if mode not in ('tensor', 'loss'):
            raise ValueError(f"AdapterPretraining has no mode '{mode}': set val_cfg, val_dataloader and val_evaluator to None")
        maps = self.student.backbone(inputs)
        logits_BK = self.classifier(torch.cat([map_BCHW.mean(dim=(2, 3)) for map_BCHW in maps], dim=1))
        if mode == 'tensor':
            return logits_BK
        classes_B = torch.tensor([sample.class_id for sample in data_samples or ()], device=logits_BK.device)
        return dict(loss_class=F.cross_entropy(logits_BK, classes_B),
                    accuracy=(logits_BK.argmax(dim=1) == classes_B).float().mean())
