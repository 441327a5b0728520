"""Shows how far a training is."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..progress import Progress


class ProgressHook(Hook):
    """Starts, counts and ends a stage of the progress; one that is stopped has no end.

    Args:
        stage: Name of the stage.
        progress: Shows it.
    """

    def __init__(self, stage: str, progress: Progress) -> None:
        self._stage, self._progress = stage, progress

    def before_train(self, runner: Runner) -> None:
        """Starts the stage."""
        self._progress.start(self._stage)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Counts an iteration."""
        self._progress.update(self._stage, runner.iter + 1, runner.max_iters, 'iterations')

    def after_train(self, runner: Runner) -> None:
        """Ends the stage if the training has come to its end."""
        if runner.iter >= runner.max_iters:
            self._progress.finish(self._stage, f'{runner.max_iters} iterations in {runner.work_dir}')
