"""mmengine's checkpoint hook in an order in which there is always a whole checkpoint."""
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .checkpoint_writing import write_atomically

POINTER = 'last_checkpoint'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Takes the arguments of mmengine's ``CheckpointHook``, which :class:`AdaptationRunner` replaces by this one.

    The new checkpoint is written and synced, then the pointer ``last_checkpoint``, and only then old ones are deleted.
    """

    def before_train(self, runner: Runner) -> None:
        """Checks the intervals, since gradients that are still being accumulated are not part of a checkpoint.

        Raises:
            ValueError: If a checkpoint would fall between two optimiser updates.
        """
        super().before_train(runner)
        self._saved_step: int | None = None
        counts = runner.optim_wrapper._accumulative_counts
        intervals = {'default_hooks.checkpoint.interval': self.interval}
        if self.save_best:
            intervals['train_cfg.val_interval (save_best)'] = runner.val_interval
        for key, interval in intervals.items():
            if not self.by_epoch and interval > 0 and interval % counts:
                raise ValueError(f'{key}={interval} has to be a multiple of '
                                 f'optim_wrapper.accumulative_counts={counts}: a checkpoint '
                                 'between two updates would lose the accumulated gradients')

    def save_now(self, runner: Runner) -> str:
        """Saves after the current iteration unless that has been done, and returns the path."""
        if self._saved_step != runner.iter + 1:
            self._save_checkpoint(runner)
        return self.last_ckpt

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # The saved list still names what is about to be deleted: a resume finishes a deletion that was cut short.
        kept = [] if self.max_keep_ckpts <= 0 else [known for known in self.keep_ckpt_ids if known != step] + [step]
        if kept:
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(self.out_dir, filename, save_optimizer=self.save_optimizer,
                               save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch)
        self._saved_step = step
        if is_main_process():
            write_atomically(Path(runner.work_dir) / POINTER, lambda stream: stream.write(self.last_ckpt.encode()))
            for outdated in kept[:-self.max_keep_ckpts]:
                Path(self.out_dir, self.filename_tmpl.format(outdated)).unlink(missing_ok=True)
        if kept:
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts:])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        backend, self.file_backend = self.file_backend, _RemoveLater(self.file_backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
            self.file_backend.remove_now()
        finally:
            self.file_backend = backend


class _RemoveLater:
    """A file backend that deletes when it is told to: the parent deletes the old best checkpoint too early."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._paths.append(path)

    def remove_now(self) -> None:
        for path in self._paths:
            self._backend.remove(path)
