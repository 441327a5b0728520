"""How well a segmentor reads labels from images: the loss whose gradient guides translation.

Shape suffixes: B images, C channels or classes, H and W height and width.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ignore_index import IGNORE_INDEX
from ..models.segmentor_protocol import TrainableSegmentor


class SegmentationGuide(nn.Module):
    """A segmentor that says, pixel by pixel, how far an image is from its label.

    A small segmentor makes a cheap guide, a large one a careful guide; they are built alike.

    Args:
        segmentor: Any mmseg segmentor that normalises its images (``EncoderDecoder``, ``HRDAEncoderDecoder``, ...),
            for example from :func:`mmseg_cicld.engine.evaluated_network.load_evaluated`. It is put into evaluation
            mode, and its parameters no longer ask for gradients.

    Raises:
        ValueError: If its data preprocessor has no mean and std, or its head does not give a logit for each class.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        if not getattr(segmentor.data_preprocessor, '_enable_normalize', False):
            raise ValueError('the guiding segmentor has no mean and std, so how it wants its images is unknown: set '
                             "model.data_preprocessor=dict(type='SegDataPreProcessor', mean=..., std=...)")
        self.num_classes = TrainableSegmentor(segmentor).num_classes
        outputs = TrainableSegmentor(segmentor).main_head.out_channels
        if outputs != self.num_classes:
            raise ValueError(f'the guiding segmentor gives {outputs} logits for {self.num_classes} classes: set '
                             f'model.decode_head.out_channels={self.num_classes} and train it with softmax')
        self.segmentor = segmentor.requires_grad_(False)
        self.train(False)

    def check_labels(self, labels_BHW: Tensor) -> None:
        """Refuses labels that :meth:`forward` cannot take.

        Args:
            labels_BHW: int64 class ids, 255 = ignore.

        Raises:
            TypeError: If they are not int64.
            ValueError: If an id is not a class of the segmentor.
        """
        if labels_BHW.dtype != torch.int64:
            raise TypeError(f'labels are {labels_BHW.dtype}, allowed is torch.int64')
        outside_BHW = ((labels_BHW < 0) | (labels_BHW >= self.num_classes)) & (labels_BHW != IGNORE_INDEX)
        if outside_BHW.any():
            ids = labels_BHW[outside_BHW].unique().tolist()
            raise ValueError(
                f'labels hold the ids {ids}, but the guiding segmentor has the classes 0 to {self.num_classes - 1} '
                f'({IGNORE_INDEX} is ignored): map the source labels to its classes (label_map or reduce_zero_label of '
                'the source dataset), or give the segmentor of that class set')

    def logits(self, images_B3HW: Tensor) -> Tensor:
        """Returns logits [B, C, H, W]; gradients pass to the images, which are RGB in [-1, 1]."""
        network = TrainableSegmentor(self.segmentor)
        mean, std = network.normalisation
        # mmseg reads images as BGR; only where the preprocessor converts them, the network knows RGB.
        seen = images_B3HW if self.segmentor.data_preprocessor.channel_conversion else images_B3HW.flip(1)
        normalised = ((seen + 1) * 127.5 - mean.to(seen)) / std.to(seen)
        return network.predict(normalised)

    def forward(self, images_B3HW: Tensor, labels_BHW: Tensor) -> Tensor:
        """Returns the cross entropy of each pixel, [B, H, W] as the labels, 0 where they are ignored.

        Args:
            images_B3HW: RGB in [-1, 1]; logits are resized to the labels if sizes differ.
            labels_BHW: Labels that passed :meth:`check_labels`.
        """
        logits = self.logits(images_B3HW)
        if logits.shape[2:] != labels_BHW.shape[1:]:
            logits = F.interpolate(logits, size=labels_BHW.shape[1:], mode='bilinear', align_corners=False)
        return F.cross_entropy(logits, labels_BHW, ignore_index=IGNORE_INDEX, reduction='none')
