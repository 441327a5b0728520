"""A data preprocessor for the parity fixtures, whose images are normalised already."""
import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor

NORMALISATION = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


class PassThrough(SegDataPreProcessor):
    """Hands batches on as they are; mean and std are kept in double, as the fixtures were made."""

    def __init__(self) -> None:
        super().__init__(**NORMALISATION)
        for name, values in NORMALISATION.items():
            setattr(self, name, torch.tensor(values, dtype=torch.float64)[:, None, None])

    def forward(self, data: dict, training: bool = False) -> dict:
        return data
