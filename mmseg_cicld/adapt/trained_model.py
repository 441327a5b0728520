"""A trained segmentor that is adapted without its source data: read once, and kept as a plain one in the work folder."""
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmseg.utils import register_all_modules

from ..datasets.class_count import check_num_classes
from ..datasets.folder_dataset import read_classes
from ..engine.checkpoint_reading import CheckpointError, read_checkpoint
from ..engine.exporting import exported_segmentor, write_segmentor
from ..engine.segmentor_files import found_files
from .data_description import DataDescriptionError

FOLDER = 'model'
_FILES = [f'{FOLDER}/segmentor.py', f'{FOLDER}/segmentor.pth']


def model_classes(model: Path, config: Path | None, classes: Path | None) -> dict:
    """Returns classes and palette of a segmentor: of its checkpoint, or of a file that names them.

    Args:
        model: The segmentor, see :func:`found_files`.
        config: Its config, None for the one beside it.
        classes: A file as :class:`FolderDataset` reads it.

    Raises:
        DataDescriptionError: If the checkpoint has other classes than the file, or nothing names them.
        CheckpointError: If the checkpoint cannot be read.
    """
    weights = found_files(model, config)[1]
    known = read_checkpoint(weights, mmap=True).get('meta', {}).get('dataset_meta') or {}
    known = {key: list(known[key]) for key in ('classes', 'palette') if known.get(key) is not None}
    if classes is None:
        if not known.get('classes'):
            raise DataDescriptionError(f'{weights} names no classes: give them with --classes FILE')
        return known
    named = read_classes(dict(classes=str(classes)), '')
    if known.get('classes') and list(named['classes']) != known['classes']:
        raise DataDescriptionError(f'--classes {classes} has {_some(named["classes"])}, but {weights} was trained on '
                                   f'{_some(known["classes"])}: leave --classes away, the segmentor names its own')
    return known | named


def keep_model(model: Path, config: Path | None, metainfo: Mapping, work_dir: Path) -> None:
    """Writes a segmentor into the work folder as ``export_segmentor.py`` does; one that is there is kept.

    Args:
        model: The segmentor, see :func:`found_files`.
        config: Its config, None for the one beside it.
        metainfo: Its classes and, optional, palette.
        work_dir: Folder of the adaptation.

    Raises:
        CheckpointError: If config and checkpoint do not belong together, or the classes have another number.
    """
    if all((work_dir / name).is_file() for name in _FILES):
        return
    file, weights = found_files(model, config)
    register_all_modules()
    cfg = Config.fromfile(file)
    if cfg.get('train_dataloader') is not None:  # heads without num_classes take it from the dataset
        check_num_classes(cfg)
    if 'segmentor' not in cfg.model and cfg.get('data_preprocessor') is not None:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    plain, network = exported_segmentor(cfg, read_checkpoint(weights), weights, keep_backbone=True)
    head = network.decode_head[-1] if hasattr(network.decode_head, '__len__') else network.decode_head
    if head.num_classes != len(metainfo['classes']):
        raise CheckpointError(weights, f'has {head.num_classes} classes, and {len(metainfo["classes"])} are named: correct '
                                       '--classes')
    write_segmentor(work_dir / FOLDER, plain, network.state_dict(), dict(metainfo))


def kept_config(work_dir: Path) -> Config:
    """Returns the plain config of the segmentor that :func:`keep_model` has kept."""
    return Config.fromfile(work_dir / FOLDER / 'segmentor.py')


def kept_weights(work_dir: Path) -> Path:
    """Returns the file of its weights."""
    return work_dir / FOLDER / 'segmentor.pth'


def trained_scale(config: Config) -> tuple[int, int] | None:
    """Returns the long and the short side that a segmentor's test pipeline resizes images into, None if it leaves them.

    Raises:
        DataDescriptionError: If it resizes in another way than with ``keep_ratio=True`` into a scale.
    """
    steps = [step for step in config.get('test_pipeline') or () if 'resize' in step['type'].lower()]
    if not steps:
        return None
    scale = steps[0].get('scale')
    if len(steps) > 1 or not _keeps_ratio(steps[0]):
        raise DataDescriptionError(
            f'test_pipeline of the segmentor resizes by {[dict(step) for step in steps]}: adaptation takes one '
            "dict(type='Resize', scale=(long, short), keep_ratio=True), or none; change it in the config that --config names")
    sides = (scale, scale) if isinstance(scale, int) else scale
    return max(sides), min(sides)


def _keeps_ratio(step: ConfigDict) -> bool:
    return step['type'] == 'Resize' and step.get('scale') is not None and step.get('keep_ratio', False)


def _some(classes: list[str]) -> str:
    return f'{len(classes)} classes ({", ".join(classes[:3])}{", ..." if len(classes) > 3 else ""})'
