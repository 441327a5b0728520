"""Denoisers from the weights of latent diffusion models (E2E-FT, Garcia et al., WACV 2025; GenPercept, Xu et al., ICLR 2025)."""
from pathlib import Path

import torch
from torch import Tensor, nn

from ..verified_pretrained import PretrainedWeightsError

KEYS = {'type', 'pretrained', 'subfolder'}


def load_unet(config: dict, in_channels: int, out_channels: int) -> nn.Module:
    """Reads a UNet with its weights, as diffusers' ``save_pretrained`` wrote it.

    Args:
        config: ``type``, ``pretrained`` (folder or hub name of a pipeline, or of a UNet alone) and ``subfolder`` of the UNet
            in it, ``'unet'`` in pipelines.
        in_channels: Channels that it is to see. Where they are twice those that it has, its first convolution is doubled
            and halved in weight (Marigold, Ke et al., CVPR 2024), so that equal halves give what one gave.
        out_channels: Channels that it is to give.

    Raises:
        PretrainedWeightsError: If the folder or name cannot be read.
        ValueError: If a key is unknown or channels do not fit.
    """
    import diffusers  # loads on use, see models/__init__.py
    name, source, subfolder = config['type'], config['pretrained'], config.get('subfolder')
    unknown = sorted(set(config) - KEYS)
    if unknown:
        raise ValueError(f'decode_head.denoiser has pretrained={source!r}, whose architecture is that of the weights: '
                         f'remove {", ".join(unknown)}')
    try:
        unet = getattr(diffusers, name).from_pretrained(source, subfolder=subfolder, low_cpu_mem_usage=False,
                                                        torch_dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise _error(source, subfolder, f'cannot be read as a {name}: {_first_line(error)}') from error
    if unet.config.out_channels != out_channels:
        raise ValueError(f'decode_head.denoiser.pretrained={source!r} denoises latents of {unet.config.out_channels} '
                         f'channels, but the latent has {out_channels}: set neck.latent_channels and the last of '
                         f'decode_head.in_channels to {unet.config.out_channels}')
    if unet.config.in_channels not in (in_channels, in_channels / 2):
        raise ValueError(f'decode_head.denoiser.pretrained={source!r} sees {unet.config.in_channels} channels, but it would '
                         f"be given {in_channels}: set decode_head.condition to "
                         f"{'none' if in_channels > unet.config.in_channels else 'concat'!r}")
    if unet.config.in_channels < in_channels:
        unet.conv_in = _doubled(unet.conv_in)
        unet.register_to_config(in_channels=in_channels)
    unet.train()
    return unet


def empty_prompt(config: dict) -> Tensor:
    """Returns the embedding of the empty text, [1, tokens, channels], by the text encoder of a pipeline.

    Raises:
        PretrainedWeightsError: If the pipeline has no such encoder, or transformers is not there.
    """
    source = config['pretrained']
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder='tokenizer')
        encoder = CLIPTextModel.from_pretrained(source, subfolder='text_encoder', dtype=torch.float32).eval()
    except (ImportError, OSError, ValueError) as error:
        raise _error(source, config.get('subfolder'), 'has cross attention, but its tokenizer and text_encoder (transformers) '
                     f'cannot be read: {_first_line(error)}') from error
    tokens = tokenizer('', padding='max_length', max_length=tokenizer.model_max_length, return_tensors='pt').input_ids
    with torch.no_grad():
        return encoder(tokens)[0]


def _doubled(conv: nn.Conv2d) -> nn.Conv2d:
    wide = nn.Conv2d(2 * conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    with torch.no_grad():
        wide.weight.copy_(conv.weight.repeat(1, 2, 1, 1) / 2)
        wide.bias.copy_(conv.bias)
    return wide


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _error(source: str, subfolder: str | None, problem: str) -> PretrainedWeightsError:
    kind = 'folder' if Path(source).exists() else 'hub name (there is no such folder)'
    return PretrainedWeightsError(
        f'model.segmentor.decode_head.denoiser.pretrained={source!r} with subfolder={subfolder!r}, a {kind}, {problem}. It '
        'takes the folder of a diffusers pipeline with unet, tokenizer and text_encoder, or its name on the hub, and '
        "decode_head.denoiser.subfolder='unet'; for a UNet of random weights remove pretrained and give block_out_channels")
