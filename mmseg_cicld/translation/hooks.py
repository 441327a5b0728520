"""What the trainings of a target diffusion model and its autoencoder show on their way and leave behind."""
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from ..datasets import DrawKey
from ..engine.checkpoint_reading import CheckpointError
from .sampling import image_grid, sample_images


@HOOKS.register_module(force=True)  # in place of the builder of on_demand.py
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


@HOOKS.register_module(force=True)  # in place of the builder of on_demand.py
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
            save_folder_whole(_bare(runner.model).save_folder, path)
            runner.logger.info(f'wrote {path}')


@HOOKS.register_module(force=True)  # in place of the builder of on_demand.py
class SaveAutoencoderHook(Hook):
    """When the last iteration of an :class:`AutoencoderPretraining` is done, writes its autoencoder as diffusers does.

    Its ``scaling_factor`` is set so that latents of the training images have variance one, which diffusion counts on.

    Args:
        folder: Its place within the work dir.
        images: Number of draws of the training data that the variance is taken from, at least 1.

    Raises:
        ValueError: If ``images`` is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, folder: str = 'autoencoder', images: int = 64) -> None:
        if images < 1:
            raise ValueError(f'SaveAutoencoderHook: images={images}, allowed are integers from 1')
        self.folder, self.images = folder, images

    def after_train(self, runner: Runner) -> None:
        """Writes the folder."""
        if is_main_process() and runner.iter >= runner.max_iters:
            path, autoencoder = Path(runner.work_dir) / self.folder, _bare(runner.model).autoencoder
            autoencoder.register_to_config(scaling_factor=1 / self._deviation(runner))
            save_folder_whole(autoencoder.save_pretrained, path)
            runner.logger.info(f'wrote {path}, scaling_factor {autoencoder.config.scaling_factor:.3f}')

    @torch.no_grad()
    def _deviation(self, runner: Runner) -> float:
        model, dataset = _bare(runner.model).eval(), runner.train_dataloader.dataset
        latents = []
        for position in range(self.images):
            for sample in dataset[DrawKey(runner.seed, position)].values():
                batch = pseudo_collate([sample])
                inputs = model.data_preprocessor(batch, True)['inputs']
                latents.append(model.autoencoder.encode(inputs).latent_dist.mode().flatten().cpu())
        return float(torch.cat(latents).std())


def save_folder_whole(save: Callable[[Path], None], folder: Path) -> None:
    """Writes a folder under another name first, so that what has this name is always a whole one.

    Args:
        save: Writes the folder that it is given.
        folder: The folder, replaced if it is there.

    Raises:
        CheckpointError: If it cannot be written.
    """
    temporary = folder.with_name(f'.{folder.name}.tmp')
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        save(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(folder, f'cannot be written ({error.strerror or error}): make room or set another '
                                      'work_dir') from error


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
