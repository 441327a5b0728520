"""Finds config and checkpoint of a trained segmentor: of an exported one, of a training, or of stock mmseg."""
from pathlib import Path

from ..datasets.file_reading import DataFileError
from ..visualization.next_commands import best_checkpoint, last_checkpoint


def found_files(source: Path, config: str | Path | None) -> tuple[Path, Path]:
    """Returns config and checkpoint of what a command line names.

    Args:
        source: Folder with ``segmentor.py`` and ``segmentor.pth``, work dir of a training (its best checkpoint, else
            the last), or a checkpoint.
        config: Config of the checkpoint, None for the .py file beside it.

    Raises:
        DataFileError: If one of them is missing.
    """
    if source.is_file():
        weights, beside = source, [source.with_suffix('.py'), *sorted(source.parent.glob('*.py'))]
        files = [file for file in beside if file.is_file()]
    elif (source / 'segmentor.pth').is_file():
        weights, files = source / 'segmentor.pth', [file for file in [source / 'segmentor.py'] if file.is_file()]
    else:
        weights = best_checkpoint(source) or last_checkpoint(source)
        files = sorted(source.glob('*.py'))
    if weights is None:
        raise DataFileError(f'there is no segmentor.pth and no checkpoint in {source}: give a folder that '
                            'tools/model_converters/export_segmentor.py wrote, the work dir of a training, or a .pth file')
    if config is not None:
        files = [Path(config)]
    if not files or not files[0].is_file():
        raise DataFileError(f'there is no config {config or "(*.py) beside " + str(weights)}: give it with --config')
    return files[0], weights
