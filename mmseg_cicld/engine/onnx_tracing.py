"""torch functions that the tracing exporter writes for one size only, in a form that is right at every size."""
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SizeFreeFunctions(TorchFunctionMode):
    """While it is entered, adaptive pooling and multi-head attention run in other operations, with the same results.

    The exporter turns adaptive pooling into plain pooling with the window of the example, or refuses it, and
    ``nn.MultiheadAttention`` into reshapes to the number of tokens of the example.
    """

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> object:
        if func is F.adaptive_avg_pool2d:
            return adaptive_average(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            return attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def adaptive_average(input: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """Returns ``F.adaptive_avg_pool2d`` of maps [B, C, H, W] as two matrix products."""
    sizes = [output_size] * 2 if isinstance(output_size, (int, Tensor)) else output_size
    rows, columns = (side if size is None else size for size, side in zip(sizes, input.shape[2:]))
    if isinstance(rows, int) and rows == columns == 1:
        return input.mean(dim=(2, 3), keepdim=True)
    return _shares(input.shape[2], rows, input) @ input @ _shares(input.shape[3], columns, input).transpose(0, 1)


def _shares(side: int, cells: int, like: Tensor) -> Tensor:
    """Returns the share [cells, side] of each row (or column) in each cell: cells overlap where sides do not divide."""
    index, place = (torch.arange(count, device=like.device) for count in (cells, side))
    start, end = index * side // cells, ((index + 1) * side + cells - 1) // cells
    inside = (place >= start[:, None]) & (place < end[:, None])
    return inside.to(like.dtype) / (end - start)[:, None].to(like.dtype)


def attention(query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
              in_proj_weight: Tensor, in_proj_bias: Tensor | None, bias_k: None, bias_v: None, add_zero_attn: bool,
              dropout_p: float, out_proj_weight: Tensor, out_proj_bias: Tensor, **unused) -> tuple[Tensor, None]:
    """Returns ``F.multi_head_attention_forward`` of tokens [N, B, C] without masks, in evaluation."""
    biases = [None] * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    heads = [F.linear(tokens, weight, bias).unflatten(2, (num_heads, -1)).permute(1, 2, 0, 3)  # [B, heads, N, channels]
             for tokens, weight, bias in zip((query, key, value), in_proj_weight.chunk(3), biases)]
    attended = F.scaled_dot_product_attention(*heads).permute(2, 0, 1, 3).flatten(2)
    return F.linear(attended, out_proj_weight, out_proj_bias), None
