"""Mix Transformer (MiT, SegFormer, Xie et al., NeurIPS 2021) on mmseg's modules, with fused attention.

Tensor names are those of mmseg's ``MixVisionTransformer``: weights go both ways without a conversion.

Shape suffixes: B images, N query tokens, M key tokens, C channels, H attention heads, D channels of a head.
"""
import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import ModuleList
from mmseg.models.backbones.mit import EfficientMultiheadAttention, MixFFN, MixVisionTransformer
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .mit_variants import MIT_VARIANTS, NUM_HEADS

BLOCK_NORM_EPS = 1e-6
EMBEDDING_NORM_EPS = 1e-5


class FusedEfficientAttention(EfficientMultiheadAttention):
    """Efficient self-attention of SegFormer through torch's fused scaled dot product.

    Same arguments and tensor names as mmseg's ``EfficientMultiheadAttention``; keys and values of the spatial
    reduction are normalised with eps 1e-5, as in the published SegFormer and DAFormer implementations.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.sr_ratio > 1:
            self.norm.eps = EMBEDDING_NORM_EPS

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor | None = None) -> Tensor:
        """Returns ``identity + attention(x)``, all [B, N, C]; ``identity`` is ``x`` if not given."""
        query_BNC, key_BMC, value_BMC = self._project(x, hw_shape)
        attended = F.scaled_dot_product_attention(
            self._split_heads(query_BNC), self._split_heads(key_BMC), self._split_heads(value_BMC),
            dropout_p=self.attn.dropout if self.training else 0.0)
        out_BNC = self.attn.out_proj(attended.transpose(1, 2).flatten(2))
        return (x if identity is None else identity) + self.dropout_layer(self.proj_drop(out_BNC))

    def _project(self, x_BNC: Tensor, hw_shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias, channels = self.attn.in_proj_weight, self.attn.in_proj_bias, self.embed_dims
        if self.sr_ratio == 1:
            return F.linear(x_BNC, weight, bias).chunk(3, dim=-1)
        if min(hw_shape) < self.sr_ratio:
            raise ValueError(f'the images are too small for the encoder: {tuple(hw_shape)} tokens where attention '
                             f'takes every {self.sr_ratio}th (sr_ratio={self.sr_ratio}); use larger images or crops')
        reduced_BMC = self.norm(nchw_to_nlc(self.sr(nlc_to_nchw(x_BNC, hw_shape))))
        query_bias, memory_bias = (None, None) if bias is None else (bias[:channels], bias[channels:])
        query_BNC = F.linear(x_BNC, weight[:channels], query_bias)
        return query_BNC, *F.linear(reduced_BMC, weight[channels:], memory_bias).chunk(2, dim=-1)

    def _split_heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, N, D]


class FusedEncoderLayer(nn.Module):
    """Pre-norm Transformer block: attention with spatial reduction, then the mixing feed-forward layer.

    Args:
        channels: Channels of the tokens.
        num_heads: Attention heads.
        mlp_ratio: Hidden channels of the feed-forward layer divided by ``channels``.
        sr_ratio: Stride at which keys and values are taken.
        drop_rate: Dropout after the projections and in the feed-forward layer.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Probability that a sample skips a residual branch (stochastic depth).
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        act_cfg: Activation of the feed-forward layer.
        norm_cfg: Norm of the block.
        with_cp: Whether activations are recomputed in the backward pass (gradient checkpointing).
    """

    def __init__(self, channels: int, num_heads: int, mlp_ratio: int, sr_ratio: int, drop_rate: float,
                 attn_drop_rate: float, drop_path_rate: float, qkv_bias: bool, act_cfg: dict, norm_cfg: dict,
                 with_cp: bool) -> None:
        super().__init__()
        drop_path = dict(type='DropPath', drop_prob=drop_path_rate)
        self.norm1 = build_norm_layer(norm_cfg, channels)[1]
        self.attn = FusedEfficientAttention(
            embed_dims=channels, num_heads=num_heads, attn_drop=attn_drop_rate, proj_drop=drop_rate,
            dropout_layer=drop_path, qkv_bias=qkv_bias, norm_cfg=norm_cfg, sr_ratio=sr_ratio)
        self.norm2 = build_norm_layer(norm_cfg, channels)[1]
        self.ffn = MixFFN(embed_dims=channels, feedforward_channels=mlp_ratio * channels, ffn_drop=drop_rate,
                          dropout_layer=drop_path, act_cfg=act_cfg)
        self.with_cp = with_cp

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Maps tokens [B, N, C] of a map of ``hw_shape`` to tokens of the same shape."""
        if self.with_cp and torch.is_grad_enabled() and x.requires_grad:
            return checkpoint(self._block, x, hw_shape, use_reentrant=False)
        return self._block(x, hw_shape)

    def _block(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        x = self.attn(self.norm1(x), hw_shape, identity=x)
        return self.ffn(self.norm2(x), hw_shape, identity=x)


@MODELS.register_module()
class FusedMixVisionTransformer(MixVisionTransformer):
    """MiT with fused attention and the norm constants of the published SegFormer and DAFormer implementations.

    The published implementations use eps 1e-5 in the norms of the patch embeddings and of the spatial reduction,
    and 1e-6 everywhere else; mmseg's own class uses 1e-6 everywhere, which moves DAFormer's logits by
    2e-5 (B0) to 5e-5 (B5) where they are about 3.

    Args:
        variant: A size of :data:`MIT_VARIANTS` (``'b0'`` to ``'b5'``), in place of ``embed_dims`` and
            ``num_layers``.
        embed_dims: Channels of one attention head; stage i has ``embed_dims * num_heads[i]`` channels.
        num_layers: Transformer blocks of each stage.
        num_heads: Attention heads of each stage.
        patch_sizes: Kernel of each patch embedding.
        strides: Stride of each patch embedding.
        sr_ratios: Stride of keys and values in each stage.
        out_indices: Stages whose feature maps are returned.
        in_channels: Channels of the image.
        mlp_ratio: Hidden channels of the feed-forward layers divided by their channels.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        drop_rate: Dropout rate.
        attn_drop_rate: Dropout rate of the attention weights.
        drop_path_rate: Stochastic depth: grows linearly from 0 to this value over all blocks.
        act_cfg: Activation of the feed-forward layers.
        with_cp: Whether each block is recomputed in the backward pass: less memory, more time.
        init_cfg: mmengine initialisation, see :class:`VerifiedPretrained` for weights.

    Raises:
        ValueError: If ``variant`` is unknown, or given together with ``embed_dims`` or ``num_layers``.
    """

    def __init__(self, variant: str | None = None, *, embed_dims: int | None = None,
                 num_layers: tuple[int, ...] | None = None, num_heads: tuple[int, ...] = NUM_HEADS,
                 patch_sizes: tuple[int, ...] = (7, 3, 3, 3), strides: tuple[int, ...] = (4, 2, 2, 2),
                 sr_ratios: tuple[int, ...] = (8, 4, 2, 1), out_indices: tuple[int, ...] = (0, 1, 2, 3),
                 in_channels: int = 3, mlp_ratio: int = 4, qkv_bias: bool = True, drop_rate: float = 0.0,
                 attn_drop_rate: float = 0.0, drop_path_rate: float = 0.1, act_cfg: dict | None = None,
                 with_cp: bool = False, init_cfg: dict | list[dict] | None = None) -> None:
        embed_dims, num_layers = _size(variant, embed_dims, num_layers)
        act_cfg, norm_cfg = act_cfg or dict(type='GELU'), dict(type='LN', eps=BLOCK_NORM_EPS)
        # The stock constructor makes patch embeddings and stage norms; the blocks between them are ours.
        super().__init__(
            in_channels=in_channels, embed_dims=embed_dims, num_stages=len(num_layers),
            num_layers=[0] * len(num_layers), num_heads=num_heads, patch_sizes=patch_sizes, strides=strides,
            sr_ratios=sr_ratios, out_indices=out_indices, norm_cfg=norm_cfg, init_cfg=init_cfg)
        self.num_layers, self.with_cp = tuple(num_layers), with_cp
        drop_path = iter(torch.linspace(0, drop_path_rate, sum(num_layers)).tolist())
        for stage, (patch_embed, _, _) in enumerate(self.layers):
            patch_embed.norm.eps = EMBEDDING_NORM_EPS
            self.layers[stage][1] = ModuleList([
                FusedEncoderLayer(
                    channels=embed_dims * num_heads[stage], num_heads=num_heads[stage], mlp_ratio=mlp_ratio,
                    sr_ratio=sr_ratios[stage], drop_rate=drop_rate, attn_drop_rate=attn_drop_rate,
                    drop_path_rate=next(drop_path), qkv_bias=qkv_bias, act_cfg=act_cfg, norm_cfg=norm_cfg,
                    with_cp=with_cp) for _ in range(num_layers[stage])
            ])


def _size(variant: str | None, embed_dims: int | None,
          num_layers: tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
    if variant is None:
        if embed_dims is None or num_layers is None:
            raise ValueError(f'backbone needs either variant (one of {sorted(MIT_VARIANTS)}) or both embed_dims and '
                             f'num_layers, got embed_dims={embed_dims}, num_layers={num_layers}')
        return embed_dims, num_layers
    if embed_dims is not None or num_layers is not None:
        raise ValueError(f'backbone.variant={variant!r} sets embed_dims and num_layers already: remove '
                         f'embed_dims={embed_dims} and num_layers={num_layers}, or set backbone.variant=None')
    if variant not in MIT_VARIANTS:
        raise ValueError(f'backbone.variant is {variant!r}, must be one of {sorted(MIT_VARIANTS)}')
    return MIT_VARIANTS[variant].embed_dims, MIT_VARIANTS[variant].num_layers
