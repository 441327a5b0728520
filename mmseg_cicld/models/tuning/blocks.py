"""The blocks of a Vision Transformer, in the order of its forward pass, whichever library it is from."""
from mmseg.models.backbones import BEiT, MixVisionTransformer, SwinTransformer, VisionTransformer
from torch import nn


def transformer_of(backbone: nn.Module) -> nn.Module:
    """Returns the part of a backbone that a tuning is for.

    That is the backbone, or what it names as its ``transformer``: an adapter beside it begins with random weights and
    has to learn whole.
    """
    return getattr(backbone, 'transformer', backbone)


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """Returns the blocks of a backbone.

    Args:
        backbone: mmseg's ``VisionTransformer``, ``BEiT``, ``MAE``, ``MixVisionTransformer`` or ``SwinTransformer``, one
            with their classes as its parents, ``TIMMBackbone`` of a ViT, or any with a list ``blocks``.

    Raises:
        TypeError: For others.
    """
    if isinstance(backbone, MixVisionTransformer):
        return [block for _, blocks, _ in backbone.layers for block in blocks]
    if isinstance(backbone, SwinTransformer):
        return [block for stage in backbone.stages for block in stage.blocks]
    if isinstance(backbone, (BEiT, VisionTransformer)):
        return list(backbone.layers)
    blocks = getattr(_network(backbone), 'blocks', None)
    if not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise TypeError(f'backbone.backbone is a {type(backbone).__name__}, whose blocks are not known: this tuning is '
                        'for mmseg\'s VisionTransformer, BEiT, MAE, MixVisionTransformer and SwinTransformer, and for '
                        'backbones with a list of blocks; FrozenTuning is for every backbone')
    return list(blocks)


def block_of_each_module(backbone: nn.Module) -> dict[str, int]:
    """Returns the index of the block that each module inside of a block belongs to, by the name of the module."""
    numbers = {id(block): index for index, block in enumerate(blocks_of(backbone))}
    found: dict[str, int] = {}
    for name, module in backbone.named_modules():
        if id(module) in numbers:
            found.update({f'{name}.{inner}' if inner else name: numbers[id(module)]
                          for inner, _ in module.named_modules()})
    return found


def prefix_tokens(backbone: nn.Module) -> int:
    """Returns how many tokens of a block are no patches: the class token and registers."""
    if isinstance(backbone, BEiT):
        return 1
    if isinstance(backbone, VisionTransformer):
        return int(backbone.with_cls_token)
    return int(getattr(_network(backbone), 'num_prefix_tokens', 0))


def width_of(block: nn.Module) -> int:
    """Returns the channels of the tokens of a block, those of its first layer norm.

    Raises:
        TypeError: If it has none.
    """
    for module in block.modules():
        if isinstance(module, nn.LayerNorm):
            return int(module.normalized_shape[0])
    raise TypeError(f'a {type(block).__name__} has no layer norm, from which the channels of its tokens are known')


def _network(backbone: nn.Module) -> nn.Module:
    return getattr(backbone, 'timm_model', backbone)  # of mmseg's TIMMBackbone
