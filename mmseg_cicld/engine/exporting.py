"""Plain mmseg configs and weights from adaptation checkpoints: no teacher, no objectives, no training parts."""
import copy
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from safetensors.torch import save_file
from torch import Tensor, nn

from ..mmengine_internals import config_dict
from ..models.backbones.mit_variants import MIT_VARIANTS
from ..models.backbones.transformers_weights import architecture_of
from ..models.decode_heads.latent_diffusion_head import TRAINING_PARTS
from .checkpoint_reading import CheckpointError
from .checkpoint_writing import write_checkpoint
from .trained_only import PART as FROZEN
from .trained_only import fill_in_frozen

_BACKBONE = 'backbone.'
PREFIXES = dict(student='student.', teacher='teacher.network.')
_KEPT_KEYS = ('default_scope', 'env_cfg', 'vis_backends', 'visualizer', 'log_processor', 'log_level', 'test_pipeline',
              'val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg')


def select_network(state: Mapping[str, Tensor], network: str, path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors of student or teacher of a training checkpoint, without their prefix.

    Raises:
        CheckpointError: If the checkpoint has no such network.
    """
    prefix = PREFIXES[network]
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if not found:
        raise CheckpointError(path, f'holds no {network} (no tensor named {prefix}...); it has: {_starts(state)}')
    return found


def plain_config(config: Config, keep_backbone: bool = False) -> Config:
    """Returns what inference and evaluation need of a training config, with stock mmseg parts where they exist.

    ``FusedMixVisionTransformer`` becomes mmseg's ``MixVisionTransformer``, which has the same tensors and not the same
    bits: its one norm constant is 1e-6, where the published network has 1e-5 in some norms, and its attention sums in
    another order. The former moves logits of about 3 by 2e-5 (B0) to 5e-5 (B5), the latter a tenth of that.
    A ``TunedBackbone`` becomes the backbone that it wraps, see :func:`merged_weights`, unless what it learnt cannot be
    merged (``LearnableTokens``). ``custom_imports`` stays only if a part of this package (``DAFormerHead``, ...) is
    left. What the architecture of an ``AutoencoderEncoder`` or a ``TransformersBackbone`` is read from, a folder or the
    hub, is not needed any more.

    Args:
        config: Config of a training, or of a plain segmentor.
        keep_backbone: Leaves ``FusedMixVisionTransformer`` as it is: predictions are bitwise those of the training.

    Raises:
        CheckpointError: If the architecture of an autoencoder cannot be read.
    """
    model = copy.deepcopy(config.model.get('segmentor', config.model))
    _drop_initialisation(model)
    model.backbone = _plain_backbone(model.backbone, keep_backbone)
    for head in model.decode_head if isinstance(model.decode_head, list) else [model.decode_head]:
        if 'LatentDiffusionHead' in (head.type, head.get('single_scale_head')):
            head.for_training = False
    kept = {key: copy.deepcopy(config[key]) for key in _KEPT_KEYS if key in config}
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):  # the strict loading of training-time validation
        if name.replace('val', 'test') in kept:
            kept[name] = copy.deepcopy(kept[name.replace('val', 'test')])
    plain = Config(dict(kept, model=model))
    if any(_is_ours(kind) for kind in _types(config_dict(plain))):
        plain.custom_imports = dict(imports=['mmseg_cicld'], allow_failed_imports=False)
    return plain


def without_training_parts(state: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """Leaves out the tensors of parts that the network of a plain config has in training only."""
    own = MODELS.build(config.model).state_dict()
    return {name: tensor for name, tensor in state.items()
            if name in own or not set(name.split('.')) & set(TRAINING_PARTS)}


def check_weights_fit(config: Config, state: Mapping[str, Tensor], path: str | Path) -> nn.Module:
    """Loads the weights into the network of a plain config; every tensor has to be used once.

    Returns:
        The network.

    Raises:
        CheckpointError: If names or shapes differ; the message names them.
    """
    model = MODELS.build(config.model)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        details = ' '.join(str(error).split())
        raise CheckpointError(path, f'does not fit the config {config.filename or ""}: {details}') from error
    return model


def exported_segmentor(config: Config, checkpoint: Mapping, path: str | Path, network: str | None = None,
                       keep_backbone: bool = False) -> tuple[Config, nn.Module]:
    """Returns plain config and network of a checkpoint, of a training or of a segmentor that was exported before.

    Args:
        config: The config that belongs to the checkpoint.
        checkpoint: What the file holds.
        path: The file, for errors.
        network: ``student`` or ``teacher``; None is the one that the config of a training evaluates.
        keep_backbone: See :func:`plain_config`.

    Raises:
        CheckpointError: If the checkpoint does not fit the config, or holds no such network.
    """
    if FROZEN in checkpoint:
        checkpoint = dict(checkpoint, state_dict=dict(checkpoint['state_dict']))
        fill_in_frozen(checkpoint, MODELS.build(config.model), path)
    state = checkpoint.get('state_dict', checkpoint)
    if network is not None or 'segmentor' in config.model:
        state = select_network(state, network or config.model.get('evaluate', 'student'), path)
    state = merged_weights(config.model.get('segmentor', config.model), state, path)
    plain = plain_config(config, keep_backbone)
    return plain, check_weights_fit(plain, without_training_parts(state, plain), path)


def merged_weights(segmentor: ConfigDict, state: Mapping[str, Tensor], path: str | Path) -> Mapping[str, Tensor]:
    """Returns the weights of a segmentor with the changes of a ``TunedBackbone`` merged into those that it wraps.

    In evaluation mode and float32 the merged backbone computes bitwise what the tuned one computes.

    Args:
        segmentor: Config of the segmentor in the training.
        state: Its weights; those of a segmentor that was merged before, or has no such backbone, are returned as they are.
        path: Their file, for errors.

    Raises:
        CheckpointError: If the weights do not fit the config.
    """
    own = {name.removeprefix(_BACKBONE): value for name, value in state.items() if name.startswith(_BACKBONE)}
    if not _merges(segmentor.backbone) or not any(name.startswith(_BACKBONE) for name in own):
        return state
    config = copy.deepcopy(segmentor.backbone)
    _drop_initialisation(config)
    tuned = MODELS.build(config)
    try:
        tuned.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(path, f'does not fit model.segmentor.backbone: {" ".join(str(error).split())}') from error
    merged = {_BACKBONE + name: value for name, value in tuned.merge().state_dict().items()}
    return {name: value for name, value in state.items() if not name.startswith(_BACKBONE)} | merged


def training_state(networks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns weights from which a training can start (``load_from``); the inverse of :func:`select_network`.

    Args:
        networks: ``student`` and, optional, ``teacher``: tensors of the segmentor.
    """
    return {PREFIXES[network] + name: tensor for network, state in networks.items() for name, tensor in state.items()}


def write_segmentor(folder: str | Path, config: Config, state: Mapping[str, Tensor], dataset_meta: dict) -> list[Path]:
    """Writes ``segmentor.py``, ``segmentor.pth`` and ``segmentor.safetensors``.

    Args:
        folder: Output folder.
        config: Of :func:`plain_config`.
        state: Tensors of the segmentor.
        dataset_meta: Classes and palette, which travel in the pth file for mmseg's inference tools.

    Returns:
        The three files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    files = [folder / f'segmentor.{ending}' for ending in ('py', 'pth', 'safetensors')]
    config.dump(files[0])
    meta = {key: dataset_meta[key] for key in ('classes', 'palette') if dataset_meta.get(key) is not None}
    write_checkpoint(dict(meta=dict(dataset_meta=meta), state_dict=state), files[1])
    save_file(state, files[2])
    return files


def _starts(state: Mapping[str, Tensor]) -> str:
    return ', '.join(sorted({name.split('.')[0] for name in state})[:8])


def _drop_initialisation(part: dict) -> None:
    for key in ('init_cfg', 'pretrained', 'checkpoint_path'):
        part.pop(key, None)
    if part.get('type') == 'TIMMBackbone':  # which downloads weights unless it is told not to
        part['pretrained'] = False
    if part.get('type') == 'TransformersBackbone' or isinstance(part.get('vit'), dict):
        network = part.get('vit', part)
        network.pop('sha256', None)
        network.update(weights=None, model=architecture_of(network['model']))
    for value in part.values():
        if isinstance(value, dict):
            _drop_initialisation(value)


def _merges(backbone: ConfigDict) -> bool:
    return backbone.type == 'TunedBackbone' and MODELS.build(backbone.tuning).mergeable


def _plain_backbone(backbone: ConfigDict, keep: bool) -> ConfigDict:
    if backbone.type == 'TunedBackbone':
        wrapped = _plain_backbone(backbone.backbone, keep)
        return wrapped if _merges(backbone) else ConfigDict(backbone, backbone=wrapped)
    if backbone.type == 'AutoencoderEncoder' and isinstance(backbone.autoencoder, str):
        return ConfigDict(backbone, autoencoder=_architecture(backbone.autoencoder, backbone.pop('subfolder', None)))
    if backbone.type == 'FusedMixVisionTransformer':
        backbone.pop('with_cp', None)
        return backbone if keep else _stock_mit(backbone)
    return backbone


def _architecture(source: str, subfolder: str | None) -> dict:
    from diffusers import AutoencoderKL  # loads on use, see models/__init__.py
    try:
        found = AutoencoderKL.load_config(source, subfolder=subfolder)
    except (OSError, ValueError) as error:
        raise CheckpointError(source, 'holds no architecture of an autoencoder that can be read '
                              f'({str(error).strip().splitlines()[0]}): set model.segmentor.backbone.autoencoder to '
                              'the folder or hub name of the training, and backbone.subfolder if it lies deeper '
                              'there') from error
    return {key: value for key, value in found.items() if not key.startswith('_')}  # not class and version


def _stock_mit(backbone: ConfigDict) -> ConfigDict:
    variant = backbone.pop('variant', None)
    if variant is not None:
        backbone.update(embed_dims=MIT_VARIANTS[variant].embed_dims, num_layers=MIT_VARIANTS[variant].num_layers)
    stock = ConfigDict(num_stages=4, num_heads=(1, 2, 5, 8), patch_sizes=(7, 3, 3, 3), strides=(4, 2, 2, 2),
                       sr_ratios=(8, 4, 2, 1), out_indices=(0, 1, 2, 3), mlp_ratio=4, qkv_bias=True,
                       norm_cfg=dict(type='LN', eps=1e-6))
    stock.update(backbone)
    return ConfigDict(stock, type='MixVisionTransformer')


def _types(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part['type']] if isinstance(part.get('type'), str) else []
        return own + [kind for value in part.values() for kind in _types(value)]
    return [kind for value in part for kind in _types(value)] if isinstance(part, (list, tuple)) else []


def _is_ours(kind: str) -> bool:
    for registry in (MODELS, DATASETS, TRANSFORMS, METRICS):
        found = registry.get(kind)
        if found is not None:
            return found.__module__.startswith('mmseg_cicld')
    return False
