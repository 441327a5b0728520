"""Learnable tokens between the blocks of a frozen backbone, as the paper of Rein (Wei et al., CVPR 2024) describes them.

Shape suffixes: B images, N tokens of the image, C channels, M learnable tokens, R rank; h and w size of a map.
"""
from dataclasses import dataclass

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from .blocks import blocks_of, prefix_tokens, transformer_of, width_of


class BlockTokens(nn.Module):
    """The learnable tokens of one block, ``T = A B``.

    Args:
        tokens: Number M of tokens.
        channels: Channels C of the block.
        rank: Rank R of T.
    """

    def __init__(self, tokens: int, channels: int, rank: int) -> None:
        super().__init__()
        self.A_MR = nn.Parameter(torch.empty(tokens, rank))
        self.B_RC = nn.Parameter(torch.empty(rank, channels))
        self.reset()

    def reset(self) -> None:
        """Draws the tokens: their entries have a standard deviation of 0.02, as position embeddings of ViTs have."""
        nn.init.normal_(self.A_MR, std=self.A_MR.shape[1]**-0.5)
        nn.init.normal_(self.B_RC, std=0.02)

    def forward(self) -> Tensor:
        """Returns T, [M, C]."""
        return self.A_MR @ self.B_RC


class TokenChange(nn.Module):
    """What turns features and tokens of a block into a change of the features; blocks of one width share it.

    ``scale * MLP_f(softmax(f T^T / sqrt(C)) MLP_T(T) + f)``, of the paper's section 3.2, where the first token takes
    attention and gives nothing, and both MLPs are linear layers.

    Args:
        channels: Channels C.
        scale: Start of the learnt factor.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.start = scale
        self.of_tokens = nn.Linear(channels, channels)
        self.of_features = nn.Linear(channels, channels)
        self.scale = nn.Parameter(torch.tensor(scale))

    @torch.no_grad()
    def reset(self) -> None:
        """Draws the linear layers as torch does and sets the factor to its start."""
        self.of_tokens.reset_parameters()
        self.of_features.reset_parameters()
        self.scale.fill_(self.start)

    def forward(self, features_BNC: Tensor, tokens_MC: Tensor) -> Tensor:
        """Returns the change, [B, N, C]."""
        shares_BNM = (features_BNC @ tokens_MC.T * tokens_MC.shape[1]**-0.5).softmax(dim=-1)
        of_tokens_BNC = shares_BNM[..., 1:] @ self.of_tokens(tokens_MC[1:])
        return self.scale * self.of_features(of_tokens_BNC + features_BNC)


@MODELS.register_module()
@dataclass(frozen=True)
class LearnableTokens:
    """Adds to the output of each block a change that learnable tokens make from it; the backbone is frozen.

    Class token and registers are not changed, and neither is what a block gives that no output depends on. The tokens
    cannot be merged into the weights: an exported segmentor keeps them and needs this package. The paper also makes the
    queries of a Mask2Former head from the tokens; such heads cannot be trained by adaptation (docs/supported.md).

    Args:
        tokens: Learnable tokens of each block, at least 2.
        rank: Rank of the tokens of a block, at least 1.
        scale: Start of the learnt factor of the changes: at the start, features change by about this share of themselves.

    Raises:
        ValueError: If an argument is out of its range, or the blocks give no tokens of one width.
    """

    tokens: int = 100
    rank: int = 16
    scale: float = 0.001
    mergeable = False

    def __post_init__(self) -> None:
        if self.tokens < 2 or self.rank < 1:
            raise ValueError(f'backbone.tuning has tokens={self.tokens} and rank={self.rank}, allowed are tokens of at '
                             'least 2, the first of which gives nothing, and a rank of at least 1')

    def attach(self, backbone: nn.Module) -> nn.Module:
        """See :class:`Tuning`; returns ``blocks``, their tokens, and ``changes``, shared by blocks of one width."""
        if not getattr(backbone, 'gives_tokens', True):
            raise ValueError(f'backbone.tuning is LearnableTokens, but {type(backbone).__name__} has stages of maps here: '
                             'choose a vision transformer, or LoRATuning')
        added, prefix = nn.Module(), prefix_tokens(backbone)
        blocks = [block for block in blocks_of(backbone) if any(each.requires_grad for each in block.parameters())]
        transformer_of(backbone).requires_grad_(False)
        widths = [width_of(block) for block in blocks]
        added.blocks = nn.ModuleList(BlockTokens(self.tokens, width, self.rank) for width in widths)
        added.changes = nn.ModuleDict({str(width): TokenChange(width, self.scale) for width in widths})
        for block, width, tokens in zip(blocks, widths, added.blocks):
            block.register_forward_hook(_AfterBlock(tokens, added.changes[str(width)], prefix))
        return added


class _AfterBlock:
    """A hook that changes the patch tokens that a block returns. A copy of the network has a copy of it."""

    def __init__(self, tokens: BlockTokens, change: TokenChange, prefix: int) -> None:
        self._tokens, self._change, self._prefix = tokens, change, prefix

    def __call__(self, block: nn.Module, inputs: tuple, out_BNC: Tensor) -> Tensor:
        patches_BNC = out_BNC[:, self._prefix:]
        changed_BNC = patches_BNC + self._change(patches_BNC, self._tokens())
        return torch.cat([out_BNC[:, :self._prefix], changed_BNC], dim=1) if self._prefix else changed_BNC
