"""The commands that follow a training, with its own paths."""
import re
import shlex
from pathlib import Path

from .training_record import TrainingRecord

_PACKAGE = Path(__file__).parents[1]


def next_commands(work_dir: Path, record: TrainingRecord) -> list[tuple[str, str]]:
    """Returns what a command does and the command, ready for a shell, in the order in which they are needed.

    Args:
        work_dir: Folder of the training.
        record: What is known of it. Paths are written as seen from the folder in which it was started, since those in
            its config are.
    """
    start = Path(record.run.get('folder') or Path.cwd())
    config, checkpoint = training_config(work_dir, record), last_checkpoint(work_dir)
    if config is None:
        return []
    folder, config_path = _seen_from(start, work_dir), _seen_from(start, config)
    images = record.run.get('images') or 'IMAGES'
    commands = [('Go to the folder in which the training was started', _command('cd', start))]
    if checkpoint is not None:
        weights, export = _seen_from(start, checkpoint), f'{folder}/export'
        if record.miou:
            commands.append(('Test: the scores of the last checkpoint, and pictures of its predictions', _command(
                'python', _tool(start, 'test.py'), config_path, weights, '--show-dir', f'{folder}/pictures')))
        commands += [
            ('Export the network alone, for MMSegmentation and for predictions', _command(
                'python', _tool(start, 'model_converters/export_segmentor.py'), config_path, weights, export)),
            ('Predict a folder of images, an image or a video with what was exported', _command(
                'python', _tool(start, 'predict.py'), export, _seen_from(start, Path(images)), '-o',
                f'{folder}/predictions')),
            ('This report again, with predictions of this checkpoint', _command(
                'python', _tool(start, 'report.py'), folder))]
    more = record.run.get('max_iters') if record.iterations >= record.run.get('max_iters', record.iterations + 1) else None
    commands.append((
        'Train on, to twice as many iterations' if more else 'Resume: go on where the training was stopped', _command(
            'python', _tool(start, 'train.py'), config_path, '--work-dir', folder, '--resume',
            *(['--allow-changed-resume', '--cfg-options', f'train_cfg.max_iters={2 * more}'] if more else []))))
    return commands


def training_config(work_dir: Path, record: TrainingRecord) -> Path | None:
    """Returns the config that the training has left in its folder: the one it names, else the newest; None without."""
    named = work_dir / str(record.run.get('config'))
    if named.is_file():
        return named
    return max(work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime, default=None)


def last_checkpoint(work_dir: Path) -> Path | None:
    """Returns the checkpoint of the highest iteration or epoch, None if there is none."""
    return _newest(work_dir, r'(?:iter|epoch)_(\d+)')


def best_checkpoint(work_dir: Path) -> Path | None:
    """Returns the best checkpoint that ``save_best`` has kept, None if there is none."""
    return _newest(work_dir, r'best_.*_(?:iter|epoch)_(\d+)')


def _newest(work_dir: Path, pattern: str) -> Path | None:
    found = [(int(match[1]), path) for path in work_dir.glob('*.pth') if (match := re.fullmatch(pattern, path.stem))]
    return max(found, default=(0, None))[1]


def _command(*words: str | Path) -> str:
    return shlex.join(map(str, words))


def _seen_from(start: Path, path: Path) -> str:
    path = path.absolute()
    return str(path.relative_to(start)) if path.is_relative_to(start) else str(path)


def _tool(start: Path, name: str) -> str:
    """Returns a program as seen from a folder: of the source tree, or of the installed package."""
    found = next((folder / name for folder in (start / 'tools', _PACKAGE.parent / 'tools', _PACKAGE / '.mim' / 'tools')
                  if (folder / name).is_file()), Path('tools') / name)
    return _seen_from(start, found) if found.is_absolute() else str(found)
