"""Networks of the transformers library: their architecture, and their weights from the hub, a folder or a file."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.logging import print_log
from torch import nn

from ...downloads import sha256_of
from ..verified_pretrained import PretrainedWeightsError, read_tensors

if TYPE_CHECKING:  # transformers loads when a network of it is built, see models/__init__.py
    from transformers import PretrainedConfig, PreTrainedModel

OF_MODEL = 'of model'
"""In place of a source of weights: that of ``model``."""
FILES = ('.safetensors', '.pth', '.pt', '.bin')
NOT_ARCHITECTURE = ('_name_or_path', 'architectures', 'dtype', 'model_type', 'out_features', 'out_indices',
                    'stage_names', 'transformers_version')
KEY = 'model.segmentor.backbone'
INSTALL = 'pip install "mmseg_cicld[foundation]"  (or: pip install transformers)'
TERMS = (
    ('facebook/dinov3-', 'are gated under the DINOv3 License: accept it at https://huggingface.co/{name} with your '
                         'account, then run `hf auth login`'),
    ('facebook/sam3', 'are gated under the SAM License: accept it at https://huggingface.co/{name} with your account, '
                      'then run `hf auth login`'),
    ('facebook/ijepa_', 'are for non-commercial use only (CC BY-NC 4.0)'),
    ('nvidia/mit-', 'are for non-commercial use only (NVIDIA Source Code License for SegFormer)'),
    ('nvidia/segformer-', 'are for non-commercial use only (NVIDIA Source Code License for SegFormer)'),
)
"""Starts of hub names, and what to know before a download."""


def source_of(model: str | dict, weights: str | None) -> str | None:
    """Returns the folder, file or hub name of the weights, None for random ones."""
    if weights != OF_MODEL:
        return weights
    return model if isinstance(model, str) else None


def build_network(model: str | dict, with_cp: bool) -> PreTrainedModel:
    """Builds a network with random weights.

    Args:
        model: See :class:`TransformersBackbone`.
        with_cp: Whether blocks are recomputed in the backward pass.

    Raises:
        ModuleNotFoundError: If transformers is not installed.
        PretrainedWeightsError: If a name or folder cannot be read.
        ValueError: If the architecture is not one, or cannot recompute its blocks.
    """
    config = read_config(model)
    from transformers import AutoBackbone, AutoModel  # loads on use, see models/__init__.py
    try:
        if is_plain(config):
            network = AutoModel.from_config(config)
        else:
            config.out_indices = list(range(len(config.stage_names)))
            network = AutoBackbone.from_config(config)
    except ImportError as error:
        raise ModuleNotFoundError(f'{KEY}.model is a {config.model_type}, whose library cannot be imported: '
                                  f'{_words(error)}') from error
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f'{KEY}.model is a {config.model_type}, which cannot be a backbone: '
                         f'{_words(error)}') from error
    if with_cp:
        # timm would recompute what reads and changes tokens between blocks with them.
        if not network.supports_gradient_checkpointing or inner_of(network) is not network:
            raise ValueError(f'{KEY}.with_cp is True, but transformers cannot recompute the blocks of a '
                             f'{type(network).__name__}: set it to False')
        network.gradient_checkpointing_enable(dict(use_reentrant=False))
    return network


def is_plain(config: PretrainedConfig) -> bool:
    """Whether a network has blocks of one width and resolution (plain transformers), or else stages."""
    return not hasattr(config, 'depths')


def inner_of(network: nn.Module) -> nn.Module:
    """Returns the network of timm in one of transformers, otherwise the latter itself."""
    return getattr(network, 'timm_model', network)


def read_config(model: str | dict) -> PretrainedConfig:
    """Returns the library's config of a hub name, a folder or a dict.

    DINOv3's random scaling of positions in training is part of its pre-training: it is off unless a dict names it.
    """
    try:
        from transformers import AutoConfig  # loads on use, see models/__init__.py
    except ImportError as error:
        raise ModuleNotFoundError(f"backbone type 'TransformersBackbone' needs transformers: {INSTALL}") from error
    if isinstance(model, str):
        if not Path(model).is_dir():
            _say_terms(model)
        try:
            config = AutoConfig.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise _error('model', model, f'has no architecture that can be read: {_words(error)}') from error
        named: Mapping = {}
    else:
        named = dict(model)
        kind = named.pop('model_type', None)
        try:
            config = AutoConfig.for_model(kind, **named)
        except Exception as error:  # the library has errors of its own for each kind of mistake
            raise ValueError(f'{KEY}.model is no architecture that transformers knows (model_type={kind!r}): '
                             f'{_words(error)}') from error
    if config.model_type == 'timm_wrapper':  # whose networks take one size of image unless they are told
        config.model_args = {'dynamic_img_size': True, **(config.model_args or {})}
    if hasattr(config, 'pos_embed_rescale'):
        config.pos_embed_rescale = named.get('pos_embed_rescale')
    return config


def architecture_of(model: str | dict) -> dict:
    """Returns the architecture of a hub name or folder as a dict, which needs neither of them any more."""
    if not isinstance(model, str):
        return model
    config = read_config(model)
    return dict(model_type=config.model_type, **{key: value for key, value in config.to_diff_dict().items()
                                                 if key not in NOT_ARCHITECTURE})


def load_weights(network: PreTrainedModel, source: str, sha256: str | None, unused: Collection[str]) -> None:
    """Loads weights into a network, in float32, without executing anything that comes with them.

    Args:
        network: The network.
        source: Folder, file, or hub name.
        sha256: Of the file of weights, or its first digits; None: not compared.
        unused: Names of parameters that may be missing.

    Raises:
        PretrainedWeightsError: If they cannot be read, have another hash, or do not fit.
    """
    origin = _origin(source, sha256)
    try:
        loaded, info = type(network).from_pretrained(**origin, config=network.config, dtype=torch.float32,
                                                     output_loading_info=True)
    except Exception as error:  # the library raises a different type for each way in which a file can be broken
        raise _error('weights', source, f'cannot be loaded: {_words(error)}') from error
    missing = sorted(set(info['missing_keys']) - set(unused))
    prefix = '' if inner_of(network) is network else 'timm_model.'
    parts = tuple(f'{prefix}{name}.' for name, part in inner_of(network).named_children() if list(part.parameters()))
    unknown = sorted(name for name in info['unexpected_keys'] if name.startswith(parts))
    if missing or unknown:
        raise _error('weights', source, f'do not fit {type(network).__name__}: {_some(missing)} missing, '
                                        f'{_some(unknown)} unknown')
    network.load_state_dict(loaded.state_dict())
    print_log(f'backbone: weights of {source}', logger='current')


def _origin(source: str, sha256: str | None) -> dict:
    """Returns what ``from_pretrained`` is to read, once its hash has been compared."""
    path = Path(source)
    if path.suffix in FILES:
        if not path.is_file():
            raise _error('weights', source, 'is not there')
        _check_hash(path, source, sha256)
        try:
            return dict(pretrained_model_name_or_path=None, state_dict=read_tensors(path))
        except ValueError as error:
            raise _error('weights', source, str(error)) from error
    if not path.is_dir():
        _say_terms(source)
    if sha256 is not None:
        _check_hash(_single_file(source), source, sha256)
    return dict(pretrained_model_name_or_path=source)


def _single_file(source: str) -> Path:
    from transformers.utils import SAFE_WEIGHTS_NAME, cached_file  # loads on use, see models/__init__.py
    try:
        return Path(cached_file(source, SAFE_WEIGHTS_NAME))
    except OSError as error:
        raise _error('weights', source, f'has no {SAFE_WEIGHTS_NAME} to compare with backbone.sha256: '
                                        f'{_words(error)}') from error


def _check_hash(path: Path, source: str, sha256: str | None) -> None:
    if sha256 is not None and not (actual := sha256_of(path)).startswith(sha256.lower()):
        raise _error('weights', source, f'have SHA-256 {actual}, but backbone.sha256 is {sha256}; delete {path} to fetch it '
                                        'again if it was cut short, or correct the hash if you trust the file')


def _say_terms(name: str) -> None:
    for start, terms in TERMS:
        if name.startswith(start):
            print_log(f'backbone: weights of {name} {terms.format(name=name)}', logger='current')


def _error(key: str, source: str, problem: str) -> PretrainedWeightsError:
    terms = next((f' Weights of {source} {terms.format(name=source)}.' for start, terms in TERMS
                  if source.startswith(start)), '')
    return PretrainedWeightsError(
        f'{KEY}.{key}={source!r}: {problem}.{terms} It takes a folder that save_pretrained wrote, a name on the hub, or '
        f'for weights a file ({", ".join(FILES)}). To start from random weights: --cfg-options {KEY}.weights=None   '
        f'(and the architecture as {KEY}.model=dict(model_type=...), which needs no download)')


def _some(names: list[str]) -> str:
    return f'{len(names)} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})' if names else '0'


def _words(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.')[:300] or type(error).__name__
