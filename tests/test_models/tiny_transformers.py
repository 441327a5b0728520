"""Small networks of the transformers library, of each family that is used, with random weights that matter."""
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

VIT = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=2)
DINOV2 = dict(model_type='dinov2', image_size=56, **VIT)
REGISTERS = dict(model_type='dinov2_with_registers', image_size=56, patch_size=14, num_register_tokens=4, **VIT)
DINOV3 = dict(model_type='dinov3_vit', intermediate_size=64, num_register_tokens=4, **VIT)
CONVNEXT = dict(model_type='dinov3_convnext', hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1])
VITS = dict(dinov2=DINOV2, registers=REGISTERS, dinov3=DINOV3)


def tiny_network(architecture: dict, seed: int = 0) -> PreTrainedModel:
    """The library's own network, in which no parameter is a neutral 0 or 1."""
    architecture = dict(architecture)
    network = AutoModel.from_config(AutoConfig.for_model(architecture.pop('model_type'), **architecture))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()
