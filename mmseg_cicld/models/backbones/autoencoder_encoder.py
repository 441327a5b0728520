"""The encoder of a diffusers autoencoder as a backbone (the latent diffusion models that CICLD builds on)."""
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..verified_pretrained import PretrainedWeightsError


@MODELS.register_module()
class AutoencoderEncoder(BaseModule):
    """Gives the feature map of each resolution of an ``AutoencoderKL``'s encoder, finest first.

    Level i has stride 2^i; the coarsest one comes after the middle block. The autoencoder's layers behind it (its own
    latent) and its decoder are left out. Such encoders were trained on images in [-1, 1]: use
    ``data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3)``.

    Args:
        autoencoder: Arguments of ``AutoencoderKL`` (``block_out_channels``, ...), or a folder or hub name to read them
            from.
        pretrained: Folder or hub name of the weights; None starts from random ones.
        subfolder: Where the autoencoder lies in that folder or on the hub (``'vae'`` in a pipeline).
        out_indices: Levels that are given, all if None.
        init_cfg: mmengine initialisation, in place of ``pretrained``.

    Raises:
        PretrainedWeightsError: If a folder or hub name cannot be read, or its weights do not fit.
        ValueError: If arguments do not fit or a level does not exist.
    """

    def __init__(self, autoencoder: dict | str, pretrained: str | None = None, subfolder: str | None = None,
                 out_indices: Sequence[int] | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.pretrained, self.subfolder = pretrained, subfolder
        config = _read_config(autoencoder, subfolder) if isinstance(autoencoder, str) else dict(autoencoder)
        encoder = _build(config).encoder
        self.conv_in, self.down_blocks, self.mid_block = encoder.conv_in, encoder.down_blocks, encoder.mid_block
        levels = len(self.down_blocks)
        self.out_indices = tuple(range(levels)) if out_indices is None else tuple(out_indices)
        if not self.out_indices or not set(self.out_indices) <= set(range(levels)):
            raise ValueError(f'backbone.out_indices is {self.out_indices}, but the autoencoder has {levels} levels: '
                             f'allowed are 0 to {levels - 1}')

    def init_weights(self) -> None:
        """Loads the pretrained weights, if there are any."""
        super().init_weights()
        if self.pretrained is None:
            return
        state = _read_encoder(self.pretrained, self.subfolder)
        try:
            unused = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise _error('pretrained', self.pretrained, 'has weights of other shapes: '
                         + ' '.join(str(error).split())[:300]) from error
        if unused.missing_keys:
            raise _error('pretrained', self.pretrained, f'lacks {len(unused.missing_keys)} tensors, such as '
                         f'{unused.missing_keys[0]}')
        print_log(f'backbone: weights of the autoencoder {self.pretrained}', logger='current')

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Returns the chosen levels, finest first."""
        features, levels = self.conv_in(images_BCHW), []
        for block in self.down_blocks:
            attentions = getattr(block, 'attentions', [None] * len(block.resnets))
            for resnet, attention in zip(block.resnets, attentions, strict=True):
                features = resnet(features, temb=None)
                features = features if attention is None else attention(features)
            levels.append(features)
            for downsampler in block.downsamplers or ():
                features = downsampler(features)
        levels[-1] = self.mid_block(features)
        return tuple(levels[index] for index in self.out_indices)


def _build(config: dict) -> nn.Module:
    from diffusers import AutoencoderKL  # loads on use, see models/__init__.py
    try:
        return AutoencoderKL(**{key: value for key, value in config.items() if not key.startswith('_')})
    except (TypeError, ValueError) as error:
        raise ValueError(f'backbone.autoencoder does not fit AutoencoderKL: {error}') from error


def _read_config(source: str, subfolder: str | None) -> dict:
    from diffusers import AutoencoderKL  # loads on use, see models/__init__.py
    try:
        return AutoencoderKL.load_config(source, subfolder=subfolder)
    except (OSError, ValueError) as error:
        raise _error('autoencoder', _place(source, subfolder), f'cannot be read: {_first_line(error)}') from error


def _read_encoder(source: str, subfolder: str | None) -> dict[str, Tensor]:
    from diffusers import AutoencoderKL  # loads on use, see models/__init__.py
    try:
        whole = AutoencoderKL.from_pretrained(source, subfolder=subfolder, low_cpu_mem_usage=False,
                                              torch_dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise _error('pretrained', _place(source, subfolder), f'cannot be read: {_first_line(error)}') from error
    return whole.encoder.state_dict()


def _place(source: str, subfolder: str | None) -> str:
    return source if subfolder is None else f'{source}/{subfolder}'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _error(key: str, source: str, problem: str) -> PretrainedWeightsError:
    kind = 'folder' if Path(source).exists() else 'hub name (there is no such folder)'
    return PretrainedWeightsError(
        f'model.segmentor.backbone.{key}={source!r}, a {kind}, {problem}. It takes a folder that AutoencoderKL.'
        'save_pretrained wrote (config.json and diffusion_pytorch_model.safetensors), or a name on the hub; set '
        'model.segmentor.backbone.subfolder if the autoencoder lies deeper. To start from random weights: '
        'model.segmentor.backbone.pretrained=None and model.segmentor.backbone.autoencoder='
        'dict(block_out_channels=...)')
