"""ViT adapter (Chen et al., ICLR 2023) as in VFM-UDA++ (Englert and Dubbelman, ICCVW 2025), on any plain transformer.

Shape suffixes: B images, N tokens, Q tokens of the pyramid, C channels, H and W size, h and w size of a map.
"""
from collections.abc import Callable

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..map_geometry import cropped_map, padded_to_multiple, resampled_map
from .transformers_backbone import TransformersBackbone
from .vit_adapter_layers import STRIDES, Extractor, Geometry, Injector, SpatialPrior, as_maps, build_norms

LEVELS = (4, *STRIDES)


@MODELS.register_module()
class ViTAdapterBackbone(BaseModule):
    """Gives maps of stride 4, 8, 16 and 32 from a plain vision transformer and convolutions beside it.

    Before each quarter of the blocks, their tokens read the pyramid of the convolutions; behind it, the pyramid reads the
    tokens. The outputs of the four quarters are added to the four maps. Tokens and maps meet by their pixels, so images of
    any size are taken: they are padded to whole patches, and the maps are cropped as :class:`TransformersBackbone` does.

    Args:
        vit: Arguments of :class:`TransformersBackbone` (``model``, ``weights``, ``scale``, ``with_cp``, ...), which has to
            give tokens. Its ``out_indices`` and ``final_norm`` follow from here.
        inplanes: Channels of the stem of the convolutions.
        head_channels: Channels of a head of the deformable attention, before ``deform_ratio``.
        points: Places that each head reads in each level.
        deform_ratio: Channels of the attention's values divided by those of the tokens.
        ffn_ratio: Hidden channels of the extractors' feed-forward networks divided by those of the tokens.
        extra_extractors: Extractors behind the last one.
        norm_cfg: Norm of the convolutions and of the maps. VFM-UDA++ has ``dict(type='SyncBN', momentum=0.01)``, which
            needs more than one process.
        with_cp: Whether injectors and extractors are recomputed in the backward pass; ``vit.with_cp`` is for the blocks.
        init_cfg: mmengine initialisation.

    Attributes:
        blocks: Blocks of the transformer, see :class:`TransformersBackbone`, as are ``embed_dims``, ``patch_size`` and
            ``num_prefix_tokens``.

    Raises:
        ValueError: If the network gives no tokens, has fewer than four blocks, or widths do not fit the heads.
    """

    def __init__(self, vit: dict, inplanes: int = 64, head_channels: int = 64, points: int = 4, deform_ratio: float = 0.5,
                 ffn_ratio: float = 0.25, extra_extractors: int = 2, norm_cfg: dict | None = None, with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if fixed := {'out_indices', 'final_norm'} & set(vit):
            raise ValueError(f'model.segmentor.backbone.vit has {sorted(fixed)}, which the adapter sets: remove them')
        self.vit = TransformersBackbone(**vit, final_norm=False)
        if not self.vit.gives_tokens or len(self.vit.blocks) < 4:
            raise ValueError(f'model.segmentor.backbone.vit.model is a {type(self.vit.model).__name__} with '
                             f'{len(self.vit.blocks)} blocks or stages: the adapter takes a plain vision transformer with '
                             'at least 4 blocks')
        self.ends, self.with_cp = self.vit.out_indices, with_cp
        channels, norm_cfg = self.embed_dims, norm_cfg or dict(type='BN', momentum=0.01)
        attention = (channels, max(channels // head_channels, 1), points, deform_ratio)
        self.prior = SpatialPrior(channels, inplanes, norm_cfg)
        self.level_embeddings = nn.Parameter(torch.zeros(len(STRIDES), channels))
        self.injectors = nn.ModuleList(Injector(*attention) for _ in self.ends)
        self.extractors = nn.ModuleList(Extractor(*attention, ffn_ratio) for _ in self.ends)
        self.extra_extractors = nn.ModuleList(Extractor(*attention, ffn_ratio) for _ in range(extra_extractors))
        self.finer = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.norms = build_norms(norm_cfg, channels, len(LEVELS))
        self.out_channels = [channels] * len(LEVELS)

    @property
    def transformer(self) -> TransformersBackbone:
        """What a tuning is for; all else here begins with random weights and learns whole."""
        return self.vit

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of the transformer."""
        return self.vit.blocks

    @property
    def embed_dims(self) -> int:
        """Channels of the tokens, and of each map."""
        return self.vit.embed_dims

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.vit.patch_size

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before those of the patches."""
        return self.vit.num_prefix_tokens

    def init_weights(self) -> None:
        """Initialises the adapter, and loads the weights of the transformer."""
        super().init_weights()
        nn.init.normal_(self.level_embeddings)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the four maps [B, C, h, w], finest first."""
        images_BCHW = self.vit.scaled(images_BCHW)
        padded_BCHW = padded_to_multiple(images_BCHW, self.patch_size)
        finest_BChw, *coarse = self.prior(padded_BCHW)
        tokens = [level.flatten(2).transpose(1, 2) + embedding for level, embedding in zip(coarse, self.level_embeddings)]
        geometry = Geometry.of(padded_BCHW.shape[2:], self.patch_size, images_BCHW.device)
        pyramid_BQC, outputs = self._interact(padded_BCHW, torch.cat(tokens, dim=1), geometry)
        coarse = as_maps(pyramid_BQC, geometry.sizes)
        rows, columns = finest_BChw.shape[2:]
        maps = [finest_BChw + self.finer(coarse[0])[:, :, :rows, :columns], *coarse]
        return tuple(cropped_map(norm(self._joined(map_BChw, output_BNC, stride, padded_BCHW)), stride, images_BCHW.shape[2:])
                     for norm, map_BChw, output_BNC, stride in zip(self.norms, maps, outputs, LEVELS))

    def _interact(self, images_BCHW: Tensor, pyramid_BQC: Tensor, geometry: Geometry) -> tuple[Tensor, list[Tensor]]:
        """Runs the blocks with injectors before and extractors behind each quarter of them."""
        prefix, outputs, pyramid = self.num_prefix_tokens, [], [pyramid_BQC]

        def inject(injector: Injector) -> Callable[[Tensor], Tensor]:
            def change(tokens_BNC: Tensor) -> Tensor:
                patches_BNC = self._run(injector, tokens_BNC[:, prefix:], pyramid[-1], geometry)
                return torch.cat([tokens_BNC[:, :prefix], patches_BNC], dim=1)

            return change

        def extract(extractors: list[Extractor]) -> Callable[[Tensor], None]:
            def read(tokens_BNC: Tensor) -> None:
                outputs.append(tokens_BNC)
                for extractor in extractors:
                    pyramid.append(self._run(extractor, pyramid[-1], tokens_BNC[:, prefix:], geometry))

            return read

        starts = (0, *(end + 1 for end in self.ends[:-1]))
        behind = [[extractor] for extractor in self.extractors]
        behind[-1] += self.extra_extractors
        self.vit.run_blocks(images_BCHW, {start: inject(injector) for start, injector in zip(starts, self.injectors)},
                            {end: extract(extractors) for end, extractors in zip(self.ends, behind)})
        return pyramid[-1], outputs

    def _run(self, module: nn.Module, *inputs: object) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(module, *inputs, use_reentrant=False)
        return module(*inputs)

    def _joined(self, map_BChw: Tensor, tokens_BNC: Tensor, stride: int, images_BCHW: Tensor) -> Tensor:
        """Adds the output of the transformer to a map, at the same pixels."""
        output_BChw = self.vit.as_map(tokens_BNC, images_BCHW.shape[2:])
        return map_BChw + resampled_map(output_BChw, self.patch_size, map_BChw.shape[2:], (stride, stride))
