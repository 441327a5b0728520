"""Small networks of each kind that can be tuned, and what they compute with and without tuning."""
import copy

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

_VIT = dict(img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=3, num_heads=2, mlp_ratio=2, out_indices=(0, 2))
_MIT = dict(embed_dims=8, num_layers=(1, 1, 1, 1), num_heads=(1, 2, 2, 2), mlp_ratio=2, drop_path_rate=0.)
BACKBONES = dict(
    vit=dict(type='VisionTransformer', final_norm=True, **_VIT),
    beit=dict(type='BEiT', qv_bias=True, **_VIT),
    mit=dict(type='MixVisionTransformer', **_MIT),
    fused=dict(type='FusedMixVisionTransformer', **_MIT),
    swin=dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2), window_size=4, mlp_ratio=2,
              drop_path_rate=0.),
    dinov2=dict(type='TransformersBackbone', model=dict(
        model_type='dinov2', image_size=56, patch_size=8, hidden_size=16, num_hidden_layers=3, num_attention_heads=2)),
    dinov3=dict(type='TransformersBackbone', model=dict(
        model_type='dinov3_vit', intermediate_size=32, num_register_tokens=2, patch_size=8, hidden_size=16,
        num_hidden_layers=3, num_attention_heads=2)))
LORA = dict(type='LoRATuning', rank=4, alpha=8)
SOMA = dict(LORA, initialisation='smallest_singular')


def built(name: str, tuning: dict | None, seed: int = 0) -> nn.Module:
    """Builds a network, tuned or not, whose own weights are the same for a seed and no neutral 0 or 1."""
    torch.manual_seed(seed)
    backbone = copy.deepcopy(BACKBONES[name])
    network = MODELS.build(backbone if tuning is None else dict(type='TunedBackbone', backbone=backbone, tuning=tuning))
    network.init_weights()
    generator = torch.Generator().manual_seed(seed)
    own = network if tuning is None else network.backbone
    with torch.no_grad():
        for parameter in own.state_dict().values():
            if parameter.is_floating_point():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    if tuning is not None:
        network.start()
    return network


def learnt(tuned: nn.Module, seed: int = 1) -> nn.Module:
    """Moves all that learns, as a training would, and returns the network."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return tuned


def images(seed: int = 2, size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def predicted(network: nn.Module) -> list[Tensor]:
    """What a network computes in evaluation.

    torch's MultiheadAttention rounds in another way there if its parameters ask for gradients, so none does.
    """
    network = copy.deepcopy(network).requires_grad_(False)
    network.train(False)
    return list(network(images()))
