"""The runner: what mmengine's does, with checkpoints that can be trusted and training without GPUs."""
import copy
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmengine
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from ..datasets.class_count import check_num_classes
from ..datasets.label_audit import audit_train_datasets
from ..mmengine_internals import (beginning, built_loops, end_workers, has_begun, is_training, randomness, set_begun,
                                  set_position)
from ..sharded_tensors import whole
from ..uda.uda_wrapper import COUNTERS
from .acceleration import compile_segmentors, refuse_smaller_crops
from .checkpoint_fetching import fetch_checkpoint, safe_loading
from .checkpoint_writing import on_cpu, restore_histories, write_checkpoint
from .distributed import init_cpu_process_group, refuse_reentrant_checkpoints, refuse_sync_batchnorm_on_cpu
from .folder_lock import folder_locked_for_all
from .initial_weights import weights_for_training, weights_in
from .layer_decay import refuse_stock_layer_decay
from .loops import refuse_epoch_loop
from .optimizer_state import load_optimizer_state, optimizer_state
from .resumed_config import check_config, config_text
from .resuming import check_parts, check_run, check_weights, newest_valid_checkpoint, some
from .run_checks import check_run_config
from .sharding import GatherHook, check_sharding, is_sharded, leave_to_sharding, shard
from .trained_only import fill_in_frozen
from .tunings import start_tunings, without_frozen

AUTO = 'auto'

_MMENGINE_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


@RUNNERS.register_module()
class AdaptationRunner(Runner):
    """Set ``runner_type = 'AdaptationRunner'`` in a config and any mmseg tool builds this runner.

    Beside mmengine's keys the config may hold:

    - ``allow_unsafe_checkpoints=True``: reads checkpoints that hold objects, which can run code. Only for own files.
    - ``allow_changed_resume=True``: resumes with another data set, learning rate, threshold and the like.
    - ``channels_last=True``: lays out convolution weights for tensor cores.
    - ``label_audit=dict(max_files=16)``: looks at that many files of each dataset before training.
    - ``fsdp=True``: shards backbones, their gradients and optimiser state over the processes.
    - ``compile=True`` or ``compile=dict(...)``: arguments of ``torch.compile`` for backbones, necks and heads.

    ``resume='auto'`` continues from the newest undamaged checkpoint of ``work_dir``; if there is none, a training
    starts as without it, from ``load_from`` if that is set. ``resume=True`` does the same without ``load_from``, and
    with it continues from that very file, as mmengine does.
    """

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> 'AdaptationRunner':
        """Builds the runner of a config; heads without ``num_classes`` take it from the dataset.

        Raises:
            ValueError: If the config has no model, a folder that cannot be written, or loaders or heads that
                contradict themselves.
        """
        cfg = copy.deepcopy(cfg)
        check_run_config(cfg)
        check_num_classes(cfg)
        return super().from_cfg(cfg)

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up processes; on a machine without GPUs they talk through gloo, whatever ``dist_cfg.backend`` says."""
        if self.distributed and not dist.is_initialized() and not torch.cuda.is_available():
            init_cpu_process_group(self.launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """Sets the seed of the run.

        Raises:
            ValueError: If each process is to have its own seed: they share one stream of samples.
        """
        if diff_rank_seed:
            raise ValueError('randomness.diff_rank_seed=True is not needed and would break the shared stream of '
                             'samples: random draws are keyed by rank already. Remove it')
        super().set_randomness(seed, deterministic=deterministic)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to its device and wraps it for distributed training, by default for several backwards."""
        if self.cfg.get('channels_last'):
            model = model.to(memory_format=torch.channels_last)
        if self.cfg.get('fsdp'):
            check_sharding(self.cfg, self.distributed)
            leave_to_sharding(model)
        if self.distributed and not is_model_wrapper(model):
            refuse_reentrant_checkpoints(model, self.cfg.get('activation_checkpointing'))
            if not torch.cuda.is_available():
                refuse_sync_batchnorm_on_cpu(model, self.cfg.get('sync_bn'))
            model_wrapper_cfg = copy.deepcopy(model_wrapper_cfg) or {}
            model_wrapper_cfg.setdefault('type', 'UDADistributedDataParallel')
        return super().wrap_model(model_wrapper_cfg, model)

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Builds a visualizer of this run's own, with a number behind its name if another run of the process has it.

        mmengine would return the visualizer of that other run, which writes into the folder of the other run.
        """
        if isinstance(visualizer, Visualizer):
            return visualizer
        visualizer = dict(visualizer or dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]))
        wanted = visualizer.get('name', self.experiment_name)
        names = itertools.chain([wanted], (f'{wanted}_{number}' for number in itertools.count(2)))
        free = next(name for name in names if not Visualizer.check_instance_created(name))
        return super().build_visualizer(dict(visualizer, name=free))

    def register_hook(self, hook: Hook | dict, priority: int | str | None = None) -> None:
        """Registers a hook; a ``CheckpointHook`` of a config becomes an :class:`AtomicCheckpointHook`."""
        if isinstance(hook, dict) and hook.get('type') in ('CheckpointHook', CheckpointHook):
            hook = dict(hook, type='AtomicCheckpointHook')
        super().register_hook(hook, priority)

    def register_default_hooks(self, hooks: dict[str, Hook | dict | None] | None = None) -> None:
        """Registers default hooks; None leaves out any of them, where mmengine allows it for its own alone."""
        super().register_default_hooks({name: hook for name, hook in (hooks or {}).items()
                                        if hook is not None or name in _MMENGINE_HOOKS})

    def train(self) -> nn.Module:
        """Audits the data and trains; however that ends, hooks release signal handlers, and the loaders' workers end.

        Raises:
            CheckpointError: If another training runs in ``work_dir``.
        """
        with folder_locked_for_all(self.work_dir):
            super().dump_config()
            if self.cfg.get('label_audit') is not None:
                self._audit_data()
            return self._train_and_release()

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Builds the training loop, see mmengine; refuses one that counts epochs, and a switch that is not safe."""
        refuse_epoch_loop(loop)
        if self.cfg.get('channels_last'):
            refuse_smaller_crops(self.cfg)
        return super().build_train_loop(loop)

    def dump_config(self) -> None:
        """Does nothing when the runner is built: a training that may not have the folder leaves its config alone.

        :meth:`train`, :meth:`val` and :meth:`test` write it when they begin.
        """

    def val(self) -> dict:
        """Validates, see mmengine."""
        super().dump_config()
        return super().val()

    def test(self) -> dict:
        """Tests, see mmengine."""
        super().dump_config()
        return super().test()

    def _train_and_release(self) -> nn.Module:
        try:
            return super().train()
        finally:
            self.call_hook('release')
            for loop in built_loops(self):
                end_workers(loop)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Builds the optimiser wrapper, see mmengine; refuses a constructor that knows bare segmentors only."""
        refuse_stock_layer_decay(optim_wrapper)
        return without_frozen(super().build_optim_wrapper(optim_wrapper), self._bare_model)

    def _audit_data(self) -> None:
        problem: list[ValueError | None] = [None]
        if is_main_process():
            try:
                for report in audit_train_datasets(self.cfg, **self.cfg.label_audit):
                    self.logger.info(report.table())
            except ValueError as error:
                problem = [error]
        # All processes stop together: one that went on would wait for the others for ever.
        broadcast_object_list(problem)
        if problem[0] is not None:
            raise problem[0]

    def load_or_resume(self) -> None:
        """Loads ``load_from``, or resumes from it or from the newest valid checkpoint of ``work_dir``.

        What starts from the weights (SoMA's decomposition) is started then, unless a checkpoint brought it; with
        ``fsdp=True`` backbones are sharded after that.
        """
        self._load_or_resume()
        if is_training(self):
            start_tunings(self._bare_model)
            if self.cfg.get('fsdp'):
                shard(self._bare_model, self.optim_wrapper)
                self.register_hook(GatherHook())

    def _load_or_resume(self) -> None:
        resume, load_from = beginning(self)
        if has_begun(self) or not resume or (load_from is not None and resume != AUTO):
            super().load_or_resume()
            return
        found = [newest_valid_checkpoint(self.work_dir, self.logger) if is_main_process() else None]
        broadcast_object_list(found)
        if found[0] is not None:
            self.resume(found[0])
            return
        self.logger.info(f'resume: there is no checkpoint in {self.work_dir}, training starts at iteration 0 '
                         f'{"with random weights" if load_from is None else f"with the weights of {load_from}"}')
        if load_from is not None:
            self.load_checkpoint(load_from)

    def load_checkpoint(self, filename: str, map_location: str = 'cpu', strict: bool = False,
                        revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''), )) -> dict:
        """Loads weights only.

        For training, weights may be missing and counters start at zero, and weights of a bare segmentor become those of
        the student; for evaluation every weight has to be there.

        Args:
            filename: A path or an address.
            map_location: Device of the tensors that are read.
            strict: Whether names have to agree exactly.
            revise_keys: Pairs (pattern, replacement) for the names in the file.

        Raises:
            CheckpointError: If the file cannot be read safely or does not fit the model.
        """
        checkpoint = self._read(filename, map_location)
        state = weights_in(checkpoint, revise_keys)
        training = is_training(self)
        if training and not strict:
            state = weights_for_training(state, self._bare_model, filename, self.logger)
            state.update({name: torch.zeros_like(value) for name, value in state.items() if name in COUNTERS})
        self._load_weights(filename, state, complete=strict or not training)
        set_begun(self)
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: str = 'cpu') -> None:
        """Continues the run that wrote a checkpoint; everything has to fit, or nothing is resumed.

        Args:
            filename: The checkpoint.
            resume_optimizer: Has to be True, as in ``resume_param_scheduler``; mmengine's interface has both.
            resume_param_scheduler: See above.
            map_location: Device of the tensors that are read.

        Raises:
            CheckpointError: If the checkpoint is not one of this run.
        """
        if not (resume_optimizer and resume_param_scheduler):
            raise ValueError('a resume takes optimiser and schedules too; use load_checkpoint for the weights alone')
        checkpoint = self._read(filename, map_location)
        check_parts(checkpoint, filename, with_schedulers=self.param_schedulers is not None)
        check_run(checkpoint['meta'], filename, randomness(self).get('seed'), self._total_batch_size())
        state, allow_changed = weights_in(checkpoint, []), self.cfg.get('allow_changed_resume', False)
        check_weights(state, self._bare_model, filename, complete=True)
        notes = [check_config(checkpoint['meta'].get('cfg'), config_text(self.cfg), filename, allow_changed)]
        self._load_weights(filename, state, complete=True)
        notes += load_optimizer_state(checkpoint, filename, self._bare_model, self.optim_wrapper,
                                      self.param_schedulers or [], allow_changed)
        for note in filter(None, notes):
            self.logger.warning(note)
        self.message_hub.load_state_dict(restore_histories(checkpoint['message_hub']))
        set_position(self.train_loop, checkpoint['meta']['epoch'], checkpoint['meta']['iter'])
        randomness(self).update(seed=checkpoint['meta']['seed'])
        self.set_randomness(**randomness(self))
        set_begun(self)
        self.logger.info(f'resumed from {filename} at iteration {self.iter}')

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True, meta: dict | None = None,
                        by_epoch: bool = True, backend_args: dict | None = None) -> None:
        """Writes a checkpoint of plain data atomically, by the first process; the arguments are mmengine's.

        With ``fsdp=True`` all processes have to call it: what is sharded is gathered.

        Raises:
            CheckpointError: If it cannot be written; what was there before is untouched.
            ValueError: If ``out_dir`` is to be reached through a remote file backend.
        """
        if file_client_args is not None or backend_args is not None:
            raise ValueError('default_hooks.checkpoint: backend_args and file_client_args are not supported, '
                             'checkpoints are written atomically to a local folder')
        sharded = is_sharded(self._bare_model)
        if not sharded and not is_main_process():
            return
        state = self._bare_model.state_dict()
        for name in state if sharded else ():
            state[name] = whole(state[name])
        optimizer = whole(optimizer_state(self.optim_wrapper)) if save_optimizer else None
        if not is_main_process():
            return
        checkpoint = {'meta': self._meta(meta, by_epoch), 'state_dict': on_cpu(state),
                      'message_hub': self.message_hub.state_dict()}
        if save_optimizer:
            checkpoint['optimizer'] = optimizer
        if save_param_scheduler and self.param_schedulers is not None:
            checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in self.param_schedulers]
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        write_checkpoint(checkpoint, Path(out_dir) / filename)

    @property
    def _bare_model(self) -> nn.Module:
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return model.module if isinstance(model, BaseTTAModel) else model

    def _total_batch_size(self) -> int:
        return self.train_dataloader.batch_size * self.world_size

    def _meta(self, meta: dict | None, by_epoch: bool) -> dict:
        # Hooks call this before the loop counts the iteration (or epoch) that has just ended.
        now = dict(epoch=self.epoch + 1, iter=self.iter) if by_epoch else dict(epoch=self.epoch, iter=self.iter + 1)
        return dict(now | (meta or {}), cfg=config_text(self.cfg), seed=self.seed, experiment_name=self.experiment_name,
                    time=time.strftime('%Y%m%d_%H%M%S'), mmengine_version=mmengine.__version__,
                    total_batch_size=self._total_batch_size(),
                    dataset_meta=getattr(self.train_dataloader.dataset, 'metainfo', None))

    def _read(self, filename: str, map_location: str) -> dict:
        checkpoint = fetch_checkpoint(filename, map_location, self.cfg.get('allow_unsafe_checkpoints', False))
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        with safe_loading(self.cfg.get('allow_unsafe_checkpoints', False)):
            fill_in_frozen(checkpoint, self._bare_model, filename)
        return checkpoint

    def _load_weights(self, filename: str, state: Mapping[str, Tensor], complete: bool) -> None:
        check_weights(state, self._bare_model, filename, complete)
        found = self._bare_model.load_state_dict(state, strict=complete)
        if found.missing_keys or found.unexpected_keys:
            self.logger.info(f'{filename}: {some(found.missing_keys)} weights of the model are not in it, '
                             f'{some(found.unexpected_keys)} of it have no place in the model')

    def _init_model_weights(self) -> None:
        # Random numbers fill memory in its order: laid out as usual, the initial weights do not depend on the switch.
        self._bare_model.to(memory_format=torch.contiguous_format)
        with safe_loading(self.cfg.get('allow_unsafe_checkpoints', False)):
            super()._init_model_weights()
        if self.cfg.get('channels_last'):
            self._bare_model.to(memory_format=torch.channels_last)

    def _maybe_compile(self, target: str) -> None:
        options = self.cfg.get('compile')
        if options in (None, False):
            return
        count = compile_segmentors(self.model, **({} if options is True else options))
        self.logger.info(f'compile: {count} modules, each is compiled when it is first used, which takes minutes')
