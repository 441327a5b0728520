"""mmengine's checkpoint hook in an order in which there is always a whole checkpoint, whose weights are finite."""
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..atomic_files import remove_leftovers
from ..mmengine_internals import accumulated_passes
from .checkpoint_checks import bare_model, differing_state, endless_buffers, refuse_not_finite
from .checkpoint_writing import write_atomically
from .trained_only import frozen_digests, leave_out_frozen

POINTER = 'last_checkpoint'


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Takes the arguments of mmengine's ``CheckpointHook``, which :class:`AdaptationRunner` replaces by this one.

    The new checkpoint is written and synced, then the pointer ``last_checkpoint``, and only then old ones are deleted.
    A training that another hook stops early, such as ``EarlyStoppingHook``, leaves a checkpoint too.

    Args:
        *args: mmengine's.
        trained_only: Whether the frozen weights of a ``TunedBackbone`` are left out. They come from their source again,
            and are compared with those of the training.
        **kwargs: mmengine's.
    """

    def __init__(self, *args, trained_only: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.trained_only = trained_only
        self._digests: dict[str, str] = {}

    def before_train(self, runner: Runner) -> None:
        """Checks the intervals, since gradients that are still being accumulated are not part of a checkpoint.

        Raises:
            ValueError: If a checkpoint would fall between two optimiser updates, or a signal in a validation would find
                gradients that are still being accumulated, or nothing is frozen that ``trained_only`` could leave out.
        """
        if 'keep_ckpt_ids' in runner.message_hub.runtime_info:  # the parent counts twice what stands there twice
            known = runner.message_hub.get_info('keep_ckpt_ids')
            runner.message_hub.update_info('keep_ckpt_ids', list(dict.fromkeys(known)))
        super().before_train(runner)
        self._begun_at = runner.iter
        here = Path(self.out_dir, self.filename_tmpl.format(runner.iter))
        resumed = bool(runner.iter) and here.is_file()
        self._saved_step, self.last_ckpt = (runner.iter, str(here)) if resumed else (None, None)
        if self.trained_only:
            self._digests = frozen_digests(bare_model(runner))
        self._endless = endless_buffers(bare_model(runner))
        if is_main_process():
            for folder in {Path(self.out_dir), Path(runner.work_dir)}:
                remove_leftovers(folder)
        counts = accumulated_passes(runner.optim_wrapper)
        intervals = {'default_hooks.checkpoint.interval': self.interval}
        if runner.val_loop is not None:
            intervals['train_cfg.val_interval'] = runner.val_interval
        for key, interval in intervals.items():
            if not self.by_epoch and interval > 0 and interval % counts and interval < runner.max_iters:
                raise ValueError(f'{key}={interval} has to be a multiple of '
                                 f'optim_wrapper.accumulative_counts={counts}: a checkpoint '
                                 'between two updates would lose the accumulated gradients')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leaves out what is not trained, if that is asked for."""
        if self.trained_only:
            leave_out_frozen(checkpoint, bare_model(runner), self._digests)

    def after_train(self, runner: Runner) -> None:
        """Saves what a hook has stopped early, then does what mmengine's hook does."""
        if runner.train_loop.stop_training and self.save_last and not self.by_epoch:
            self.save_now(runner, runner.iter)
        super().after_train(runner)

    def save_now(self, runner: Runner, done: int, everywhere: bool = True) -> str | None:
        """Saves the state after ``done`` iterations unless that has been done.

        Args:
            runner: Its model has been updated by exactly that many iterations.
            done: Number of iterations.
            everywhere: Whether all processes call this; otherwise the first one alone.

        Returns:
            The path, or None if nothing has been trained since the training was begun or resumed.

        Raises:
            CheckpointError: If the weights are not finite, or the file cannot be written.
        """
        if done == self._begun_at:
            return None
        path = str(Path(self.out_dir, self.filename_tmpl.format(done)))
        if everywhere:
            self._check(runner, path)  # by all processes, whichever of them have saved already
        else:
            refuse_not_finite(runner, path, self._endless, everywhere=False)
        if self._saved_step != done:
            self._write(runner, done, dict(epoch=runner.epoch, iter=done))
        return self.last_ckpt

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._check(runner, str(Path(self.out_dir, self.filename_tmpl.format(step))))
        self._write(runner, step, meta)

    def _write(self, runner: Runner, step: int, meta: dict) -> None:
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
            self.keep_ckpt_ids = deque(kept[-self.max_keep_ckpts:], self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _check(self, runner: Runner, path: str) -> None:
        refuse_not_finite(runner, path, self._endless)
        if get_world_size() == 1:
            return
        differing = differing_state(bare_model(runner))
        if differing:  # mmengine's logger leaves out warnings that it has given before
            runner.logger.warning(f'{", ".join(differing)} (objective: key) is not the same on all processes, and a '
                                  'checkpoint holds that of the first: a resume will not be exact. Gather it with '
                                  'mmengine.dist (all_reduce, all_gather) where it changes')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        now = runner.epoch if self.by_epoch else runner.iter
        refuse_not_finite(runner, str(Path(self.out_dir, f'best_*_{self.filename_tmpl.format(now)}')), self._endless)
        # The parent saves the ordinary checkpoint anew, with the new best score. Where no such checkpoint was due, it
        # would be one more, in place of one that has to stay: the next that is due will hold the score.
        last, backend = self.last_ckpt, self.file_backend
        self.last_ckpt = last if self._saved_step == now else None
        self.file_backend = _RemoveLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
            self.file_backend.remove_now()
        finally:
            self.last_ckpt, self.file_backend = self.last_ckpt or last, backend


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
