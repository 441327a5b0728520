"""What the training of a target diffusion model shows on its way, and what it leaves behind."""
import shutil
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from ..engine.checkpoint_reading import CheckpointError
from .sampling import image_grid, sample_images


@HOOKS.register_module()
class SampleGridHook(Hook):
    """Every ``interval`` iterations draws images from the averaged weights of a :class:`TargetDiffusion`.

    The noise is always the same, so that the grids show one set of images getting better. They reach every
    ``vis_backend`` as ``samples``.

    Args:
        interval: Iterations from one grid to the next, at least 1.
        samples: Number of images.
        columns: Images in a row.
        steps: Steps of the reverse process; its scheduler is that of the model.
        size: Height and width of the images; None for those of the training images.

    Raises:
        ValueError: If an argument is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 5000, samples: int = 8, columns: int = 4, steps: int = 50,
                 size: tuple[int, int] | None = None) -> None:
        for name, value in dict(interval=interval, samples=samples, columns=columns, steps=steps).items():
            if value < 1:
                raise ValueError(f'SampleGridHook: {name}={value}, allowed are integers from 1. To draw nothing, '
                                 'remove the hook from custom_hooks')
        self.interval, self.samples, self.columns, self.steps, self.size = interval, samples, columns, steps, size

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Draws a grid if one is due."""
        if is_main_process() and self.every_n_train_iters(runner, self.interval):
            model = _bare(runner.model)
            images_B3HW = sample_images(model.diffusion, self.samples, self.size or model.image_size, self.steps)
            runner.visualizer.add_image('samples', image_grid(images_B3HW, self.columns).numpy(), step=runner.iter + 1)


@HOOKS.register_module()
class SaveFolderHook(Hook):
    """When the last iteration is done, writes the model in diffusers' layout; a training that was stopped writes none.

    Args:
        folder: Its place within the work dir.
    """

    priority = 'NORMAL'

    def __init__(self, folder: str = 'diffusion') -> None:
        self.folder = folder

    def after_train(self, runner: Runner) -> None:
        """Writes the folder."""
        if is_main_process() and runner.iter >= runner.max_iters:
            path = Path(runner.work_dir) / self.folder
            save_folder_whole(_bare(runner.model), path)
            runner.logger.info(f'wrote {path}')


def save_folder_whole(model: nn.Module, folder: Path) -> None:
    """Writes ``model.save_folder`` under another name first, so that a folder of this name is always a whole one.

    Args:
        model: Has ``save_folder(path)``.
        folder: The folder, replaced if it is there.

    Raises:
        CheckpointError: If it cannot be written.
    """
    temporary = folder.with_name(f'.{folder.name}.tmp')
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        model.save_folder(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(folder, f'cannot be written ({error.strerror or error}): make room or set another '
                                      'work_dir') from error


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
