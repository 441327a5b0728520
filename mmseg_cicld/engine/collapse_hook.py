"""Stops a training whose pseudo-labels collapse into a few classes."""
from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..uda.class_shares import ClassShares, class_names


class CollapsedError(RuntimeError):
    """Half of the classes that the pseudo-labels showed at the start are gone."""


@HOOKS.register_module()
class CollapseHook(Hook):
    """Watches the classes of pseudo-labels, of objectives that count them, such as ``TargetSelfTraining``.

    A class has vanished if it takes less than a tenth of its share of the start. Each is named in a warning once; when
    half of those seen at the start have vanished, the training ends with what to change. What was learned until then
    is in the checkpoints.

    Args:
        interval: Iterations between two looks.

    Raises:
        ValueError: If ``interval`` is below 1.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval} of CollapseHook: give 1 or more')
        self.interval = interval
        self._named: set[str] = set()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Looks at all objectives, if it is time."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for objective in getattr(model, 'objectives', ()):
            counted: Mapping[str, ClassShares] = getattr(objective, 'counted_classes', {})
            for name, shares in counted.items():
                self._look(runner, name, shares)

    def _look(self, runner: Runner, name: str, shares: ClassShares) -> None:
        seen, vanished = shares.vanished()
        names = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes') or ()
        gone = class_names(vanished, names)
        if seen and 2 * len(vanished) >= len(seen):
            raise CollapsedError(
                f'the adaptation collapses: at iteration {runner.iter + 1} the pseudo-labels of {name} have lost '
                f'{len(vanished)} of the {len(seen)} classes that they showed at the start ({gone}). Lower '
                'optim_wrapper.optimizer.lr, raise model.teacher.momentum, or add dict(type=\'ClassBalance\') to '
                f'model.objectives; the checkpoints in {runner.work_dir} hold what was learned before')
        if vanished and gone not in self._named:
            self._named.add(gone)
            runner.logger.warning(f'the pseudo-labels of {name} have all but lost {gone}: less than a tenth of the share '
                                  'at the start')
