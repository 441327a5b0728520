"""The runner: what mmengine's does, with checkpoints that can be trusted and training without GPUs."""
import copy
import itertools
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmengine
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, Runner, load_state_dict
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from ..datasets.class_count import check_num_classes
from ..datasets.label_audit import audit_train_datasets
from ..uda.classmix_ema import COUNTERS
from .acceleration import compile_segmentors
from .checkpoint_reading import CheckpointError, read_checkpoint
from .checkpoint_writing import restore_histories, write_checkpoint
from .distributed import init_cpu_process_group, refuse_sync_batchnorm_on_cpu
from .resuming import check_keys, check_parts, check_run, check_weights, newest_valid_checkpoint


@RUNNERS.register_module()
class AdaptationRunner(Runner):
    """Set ``runner_type = 'AdaptationRunner'`` in a config and any mmseg tool builds this runner.

    Beside mmengine's keys the config may hold:

    - ``allow_unsafe_checkpoints=True``: reads checkpoints that hold objects, which can run code. Only for own files.
    - ``channels_last=True``: lays out convolution weights for tensor cores.
    - ``label_audit=dict(max_files=16)``: looks at that many files of each dataset before training.
    - ``compile=True`` or ``compile=dict(...)``: arguments of ``torch.compile`` for backbones, necks and heads.

    ``resume=True`` without ``load_from`` continues from the newest undamaged checkpoint of ``work_dir``.
    """

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> 'AdaptationRunner':
        """Builds the runner of a config; heads without ``num_classes`` take it from the dataset."""
        cfg = copy.deepcopy(cfg)
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
        if self.distributed and not is_model_wrapper(model):
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

    def train(self) -> nn.Module:
        """Audits the data and trains; however that ends, hooks release signal handlers, and the loaders' workers end."""
        if self.cfg.get('label_audit') is not None:
            self._audit_data()
        try:
            return super().train()
        finally:
            self.call_hook('release')
            for loop in (self._train_loop, self._val_loop):
                if isinstance(loop, BaseLoop):
                    # Persistent workers end with this iterator. The garbage collector would close the queues through
                    # which they are told so first, and then wait for each of them for 5 seconds.
                    loop.dataloader._iterator = None

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
        """Loads ``load_from``, or resumes from it or from the newest valid checkpoint of ``work_dir``."""
        if self._has_loaded or not self._resume or self._load_from is not None:
            super().load_or_resume()
            return
        found = [newest_valid_checkpoint(self.work_dir, self.logger) if is_main_process() else None]
        broadcast_object_list(found)
        if found[0] is None:
            self.logger.info(f'resume: there is no checkpoint in {self.work_dir}, training starts at iteration 0')
            return
        self.resume(found[0])

    def load_checkpoint(self, filename: str, map_location: str = 'cpu', strict: bool = False,
                        revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''), )) -> dict:
        """Loads weights only.

        For training, weights may be missing and counters start at zero; for evaluation every weight has to be there.

        Args:
            filename: A path or an address.
            map_location: Device of the tensors that are read.
            strict: Whether names have to agree exactly.
            revise_keys: Pairs (pattern, replacement) for the names in the file.

        Raises:
            CheckpointError: If the file cannot be read safely or does not fit the model.
        """
        checkpoint = self._read(filename, map_location)
        state = _renamed(checkpoint, revise_keys)
        training = isinstance(self._train_loop, BaseLoop)
        if training and not strict:
            state.update({name: torch.zeros_like(value) for name, value in state.items() if name in COUNTERS})
        self._load_weights(filename, state, complete=strict or not training)
        self._has_loaded = True
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
        check_run(checkpoint['meta'], filename, self._randomness_cfg.get('seed'), self._total_batch_size())
        self._load_weights(filename, _renamed(checkpoint, []), complete=True)
        self._resume_optimizer(filename, checkpoint)
        self.message_hub.load_state_dict(restore_histories(checkpoint['message_hub']))
        self.train_loop._epoch, self.train_loop._iter = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
        self._randomness_cfg.update(seed=checkpoint['meta']['seed'])
        self.set_randomness(**self._randomness_cfg)
        self._has_loaded = True
        self.logger.info(f'resumed from {filename} at iteration {self.iter}')

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True, meta: dict | None = None,
                        by_epoch: bool = True, backend_args: dict | None = None) -> None:
        """Writes a checkpoint of plain data atomically; the arguments are mmengine's.

        Raises:
            CheckpointError: If it cannot be written; what was there before is untouched.
            ValueError: If ``out_dir`` is to be reached through a remote file backend.
        """
        if file_client_args is not None or backend_args is not None:
            raise ValueError('default_hooks.checkpoint: backend_args and file_client_args are not supported, '
                             'checkpoints are written atomically to a local folder')
        checkpoint = {'meta': self._meta(meta, by_epoch), 'state_dict': self._bare_model.state_dict(),
                      'message_hub': self.message_hub.state_dict()}
        if save_optimizer:
            checkpoint['optimizer'] = self.optim_wrapper.state_dict()
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
        return dict(now | (meta or {}), cfg=self.cfg.pretty_text, seed=self.seed, experiment_name=self.experiment_name,
                    time=time.strftime('%Y%m%d_%H%M%S'), mmengine_version=mmengine.__version__,
                    total_batch_size=self._total_batch_size(),
                    dataset_meta=getattr(self.train_dataloader.dataset, 'metainfo', None))

    def _read(self, filename: str, map_location: str) -> dict:
        if '://' in filename:
            checkpoint = CheckpointLoader.load_checkpoint(filename, map_location)
        else:
            checkpoint = read_checkpoint(filename, map_location, self.cfg.get('allow_unsafe_checkpoints', False))
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        return checkpoint

    def _load_weights(self, filename: str, state: Mapping[str, Tensor], complete: bool) -> None:
        check_weights(state, self._bare_model, filename, complete)
        load_state_dict(self._bare_model, state, strict=complete, logger=self.logger)

    def _resume_optimizer(self, filename: str, checkpoint: dict) -> None:
        saved, own = checkpoint['optimizer'], self.optim_wrapper.state_dict()
        check_keys(saved, own, filename, 'the optimizer state')
        try:
            for saved_group, own_group in zip(saved['param_groups'], own['param_groups'], strict=True):
                check_keys(saved_group, own_group, filename, 'a parameter group of the optimizer')
            self.optim_wrapper.load_state_dict(saved)
            states = checkpoint.get('param_schedulers', [])
            for scheduler, state in zip(self.param_schedulers or [], states, strict=True):
                check_keys(state, scheduler.state_dict(), filename, 'the state of a param_scheduler')
                scheduler.load_state_dict(state)
        except ValueError as error:
            raise CheckpointError(filename, f'optimizer or param_scheduler do not fit this config ({error})') from None

    def _init_model_weights(self) -> None:
        # Random numbers fill memory in its order: laid out as usual, the initial weights do not depend on the switch.
        self._bare_model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()
        if self.cfg.get('channels_last'):
            self._bare_model.to(memory_format=torch.channels_last)

    def _maybe_compile(self, target: str) -> None:
        options = self.cfg.get('compile')
        if options in (None, False):
            return
        count = compile_segmentors(self.model, **({} if options is True else options))
        self.logger.info(f'compile: {count} modules, each is compiled when it is first used, which takes minutes')


def _renamed(checkpoint: dict, revise_keys: Sequence[tuple[str, str]]) -> OrderedDict:
    state = checkpoint.get('state_dict', checkpoint)
    renamed = OrderedDict(state)
    for pattern, replacement in revise_keys:
        renamed = OrderedDict((re.sub(pattern, replacement, name), value) for name, value in renamed.items())
    renamed._metadata = getattr(state, '_metadata', OrderedDict())
    return renamed
