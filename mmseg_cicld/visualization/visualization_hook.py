"""Draws what training steps see through the runner's visualizer, so that every vis_backend receives it."""
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import DVCLiveVisBackend, LocalVisBackend, MLflowVisBackend, Visualizer
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..engine.mmengine_internals import backends_of
from .latents import Tiles, denoises, denoising_rows
from .panel import compose_panel, step_tiles


@HOOKS.register_module()
class UDAVisualizationHook(Hook):
    """Every ``interval`` iterations draws source, target, pseudo-label, weight and mix of the step, a row a sample.

    If the network that is evaluated predicts by denoising, a second panel has its latents and predictions by step for
    the same target images, see :func:`denoising_rows`.

    Args:
        interval: Iterations from one panel to the next, at least 1.
        max_samples: Samples in a panel at most.
        palette: RGB of each class; by default that of the training set.

    Raises:
        ValueError: If ``interval`` or ``max_samples`` is below 1.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 1000, max_samples: int = 2,
                 palette: Sequence[Sequence[int]] | None = None) -> None:
        for name, value in dict(interval=interval, max_samples=max_samples).items():
            if value < 1:
                raise ValueError(f'UDAVisualizationHook: {name}={value}, allowed are integers from 1. To draw nothing, '
                                 'remove the hook from custom_hooks')
        self.interval, self.max_samples, self.palette = interval, max_samples, palette

    def before_train(self, runner: Runner) -> None:
        """Refuses a model that cannot show its steps.

        Raises:
            TypeError: If the model is not trained with objectives.
        """
        if not hasattr(_bare(runner.model), 'keep_step'):
            raise TypeError(f'UDAVisualizationHook draws the steps of ClassMixEMA, the model is a '
                            f'{type(_bare(runner.model)).__name__}: remove the hook from custom_hooks')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Asks the model to keep the step that is due."""
        if is_main_process() and self.every_n_train_iters(runner, self.interval):
            _bare(runner.model).keep_step = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Draws the step that the model kept."""
        model = _bare(runner.model)
        if not self.every_n_train_iters(runner, self.interval) or model.kept_step is None:
            return
        kept, model.kept_step = model.kept_step, None
        palette = self.palette or runner.train_dataloader.dataset.metainfo['palette']
        samples = range(min(self.max_samples, len(kept['source_image'])))
        panel = compose_panel([step_tiles(kept, index, palette) for index in samples])
        add_picture(runner.visualizer, 'training_step', panel, runner.iter + 1)
        if denoises(model.evaluated):
            panel = compose_panel(_denoising(model, kept, samples, palette))
            add_picture(runner.visualizer, 'denoising', panel, runner.iter + 1)


def add_picture(visualizer: Visualizer, name: str, image_HWC: np.ndarray, step: int) -> None:
    """Gives a picture to every vis_backend under a name that it can save.

    Some backends write the picture to a file of that very name and know formats by suffix, others add one themselves.
    MLflow has no steps for pictures: without the step in its name a picture would replace the one before.

    Args:
        visualizer: Of the run.
        name: What the picture shows, without suffix.
        image_HWC: RGB, uint8.
        step: Number of the iteration.
    """
    for backend in backends_of(visualizer):
        if isinstance(backend, (LocalVisBackend, DVCLiveVisBackend)):
            backend.add_image(name, image_HWC, step)
        elif isinstance(backend, MLflowVisBackend):
            backend.add_image(f'{name}_{step}.png', image_HWC, step)
        else:
            backend.add_image(f'{name}.png', image_HWC, step)


def _denoising(model: nn.Module, kept: Mapping[str, Tensor], samples: Sequence[int],
               palette: Sequence[Sequence[int]]) -> list[Tiles]:
    """Returns two rows a sample: of the target image if the step had pseudo-labels of it, else of the source image."""
    image, label, title = ('target_image', 'pseudo_label', 'pseudo-label') if 'pseudo_label' in kept else (
        'source_image', 'source_label', 'source label')
    model.eval()
    rows = [denoising_rows(model.evaluated, kept[image][index], (title, kept[label][index]), palette)
            for index in samples]
    model.train()
    return [row for pair in rows for row in pair]


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
