"""Context-aware multi-level feature fusion of DAFormer (Hoyer et al., CVPR 2022, section 3.2)."""
from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from .fusion_layers import ASPPFusion, build_fusion_layer
from .levelwise_fusion import fused_at_own_size, is_pointwise, stacked


@MODELS.register_module()
class DAFormerHead(BaseDecodeHead):
    """Embeds every feature level to the same width, stacks them at the finest level, and fuses them.

    Args:
        in_channels: Channels of the feature levels, finest first.
        in_index: Which feature levels are used, finest first.
        channels: Channels after fusion.
        decoder_params: ``embed_dims`` (width of each embedded level), ``embed_cfg`` (embedding of all levels but the
            last), ``embed_neck_cfg`` (embedding of the last level; the same as ``embed_cfg`` if it is not given) and
            ``fusion_cfg``, see :func:`build_fusion_layer` for the three.
        align_corners: Must be False.
        **kwargs: As for mmseg's ``BaseDecodeHead``.

    Raises:
        ValueError: If ``align_corners`` is set, or ``decoder_params`` has unknown or missing entries.
    """

    def __init__(self, *, in_channels: Sequence[int], in_index: Sequence[int], channels: int, decoder_params: dict,
                 align_corners: bool = False, **kwargs) -> None:
        if align_corners:
            raise ValueError('decode_head.align_corners must be False for DAFormerHead')
        super().__init__(in_channels=list(in_channels), in_index=list(in_index), channels=channels,
                         input_transform='multiple_select', align_corners=False, **kwargs)
        params = _checked(decoder_params)
        width, last = params['embed_dims'], len(self.in_channels) - 1
        self.embed_layers = nn.ModuleList()
        for level, level_channels in enumerate(self.in_channels):
            name = 'embed_neck_cfg' if level == last else 'embed_cfg'
            self.embed_layers.append(
                build_fusion_layer(params[name], level_channels, width, f'decode_head.decoder_params.{name}'))
        self.fuse_layer = build_fusion_layer(
            params['fusion_cfg'], width * len(self.in_channels), channels, 'decode_head.decoder_params.fusion_cfg')

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Returns logits [B, num_classes, h, w] at the resolution of the finest level."""
        levels = self._transform_inputs(inputs)
        return self.cls_seg(self._fused([layer(level) for layer, level in zip(self.embed_layers, levels)]))

    def _fused(self, levels: Sequence[Tensor]) -> Tensor:
        layer = self.fuse_layer
        if isinstance(layer, ASPPFusion):
            return layer(*levels)
        if is_pointwise(layer):
            return fused_at_own_size(levels, layer, 'bilinear', self.align_corners)
        return layer(stacked(levels))

    @staticmethod
    def attention_config(config: dict, width: int) -> dict:
        """Returns the config of a head of this kind for the scale attention of HRDA: its fusion is a 1x1 convolution."""
        params = dict(config['decoder_params'], embed_dims=width)
        fusion = params['fusion_cfg']
        if fusion['type'] == 'aspp':
            params['fusion_cfg'] = dict(type='conv', kernel_size=1, act_cfg=dict(type='ReLU'),
                                        norm_cfg=fusion['norm_cfg'])
        return dict(config, channels=width, decoder_params=params)


def _checked(decoder_params: dict) -> dict:
    required = {'embed_dims', 'embed_cfg', 'fusion_cfg'}
    missing, unknown = required - set(decoder_params), set(decoder_params) - required - {'embed_neck_cfg'}
    if missing or unknown:
        raise ValueError(f'decode_head.decoder_params: missing {sorted(missing)}, unknown {sorted(unknown)}; it takes '
                         f'{sorted(required)} and, optional, embed_neck_cfg')
    return {'embed_neck_cfg': decoder_params['embed_cfg'], **decoder_params}
