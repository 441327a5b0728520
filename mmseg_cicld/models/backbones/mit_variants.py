"""The sizes of the Mix Transformer, MiT-B0 to MiT-B5 (SegFormer, Xie et al., NeurIPS 2021, table 6)."""
from dataclasses import dataclass

_WEIGHTS = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'


@dataclass(frozen=True)
class MitVariant:
    """What differs between the variants; all of them have 1, 2, 5 and 8 heads in their four stages.

    Args:
        embed_dims: Channels per attention head, which are the channels of the first stage.
        num_layers: Transformer blocks of each stage.
        weights_url: ImageNet-1k weights in mmseg's tensor names, the file name ends in the start of its SHA-256.
            NVIDIA Source Code License: for research and evaluation only, not for commercial use.
    """

    embed_dims: int
    num_layers: tuple[int, int, int, int]
    weights_url: str

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four feature maps, finest first."""
        return tuple(self.embed_dims * heads for heads in NUM_HEADS)


NUM_HEADS = (1, 2, 5, 8)
MIT_VARIANTS = {
    'b0': MitVariant(32, (2, 2, 2, 2), _WEIGHTS + 'mit_b0_20220624-7e0fe6dd.pth'),
    'b1': MitVariant(64, (2, 2, 2, 2), _WEIGHTS + 'mit_b1_20220624-02e5a6a1.pth'),
    'b2': MitVariant(64, (3, 4, 6, 3), _WEIGHTS + 'mit_b2_20220624-66e8bf70.pth'),
    'b3': MitVariant(64, (3, 4, 18, 3), _WEIGHTS + 'mit_b3_20220624-13b1141c.pth'),
    'b4': MitVariant(64, (3, 8, 27, 3), _WEIGHTS + 'mit_b4_20220624-d588d980.pth'),
    'b5': MitVariant(64, (3, 6, 40, 3), _WEIGHTS + 'mit_b5_20220624-658746d9.pth'),
}
