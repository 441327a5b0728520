"""The wrapper that trains any mmseg segmentor with a list of objectives and an EMA teacher."""
import contextlib
from collections.abc import Sequence

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _IncompatibleKeys

from ..finite_losses import read_finite
from ..mmengine_internals import counted_passes, set_counted_passes
from ..models.segmentor_protocol import TrainableSegmentor, check_segmentor
from ..random_streams import KeyedStreams
from ..scaled_steps import update_parameters
from .domain_batch import check_padding, domain_batch
from .frozen_parts import freeze_all_but, frozen_modules
from .objective_checks import check_objectives, check_optimiser, check_step, corrections, needed_passes
from .step_context import StepContext
from .step_statistics import target_statistics
from .stock_preprocessor import with_preprocessor
from .teacher import EMATeacher

# Finished iterations, optimiser updates, and teacher updates: buffers, so that they survive a resume.
COUNTERS = ('iteration', 'updates', 'teacher_updates')


@MODELS.register_module(name=['UDAWrapper', 'ClassMixEMA'])
class UDAWrapper(BaseModel):
    """Trains a student segmentor; a step is a list of objectives, each back-propagated as soon as it is computed.

    One step: the teacher is updated, each objective gives its losses and frees its graph after its backward pass,
    then the optimiser steps. So peak memory is that of the largest objective. All losses are read by the host once,
    before the optimiser steps.

    ``ClassMixEMA`` is the same by the name of its usual parts, for configs.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel heads.
        objectives: Configs of the objectives, in the order in which they run.
        teacher: Arguments of :class:`EMATeacher`, None for no teacher.
        evaluate: Which network validates and predicts, ``'student'`` or ``'teacher'``.
        train_only: Parts of the student to train, such as ``["decode_head.denoiser"]``; all else stays as it is,
            in evaluation mode. None trains all.
        data_preprocessor: What a config has at top level, as stock configs of mmseg do: mmengine hands it on. The
            segmentor's, if that has none of its own, and else equal to that.
        pretrained: Must be None; mmseg's ``init_model`` sets it so on every model. Weights go into
            ``segmentor.backbone.init_cfg``.
        train_cfg: Likewise.

    Raises:
        ValueError: If objectives, teacher and ``evaluate`` contradict each other.
    """

    def __init__(self, segmentor: dict, objectives: Sequence[dict], teacher: dict | None = None,
                 evaluate: str = 'student', train_only: Sequence[str] | None = None,
                 data_preprocessor: dict | None = None, pretrained: None = None, train_cfg: None = None) -> None:
        if pretrained is not None or train_cfg is not None:
            raise ValueError('UDAWrapper has no pretrained and train_cfg of its own: move them into model.segmentor')
        student = MODELS.build(with_preprocessor(segmentor, data_preprocessor))
        check_segmentor(student)
        super().__init__(data_preprocessor=student.data_preprocessor)
        self.student = student
        self.teacher = None if teacher is None else EMATeacher(student, **teacher)
        self.objectives = nn.ModuleList(MODELS.build(objective) for objective in objectives)
        self._trainable = TrainableSegmentor(student)
        self.evaluate = evaluate
        for counter in COUNTERS:
            self.register_buffer(counter, torch.zeros((), dtype=torch.int64))
        self._counts = dict.fromkeys(COUNTERS, 0)
        self.streams = KeyedStreams(seed=0)
        self.keep_step = False
        self.kept_step: dict[str, Tensor] | None = None
        self.keep_statistics = False
        self.kept_statistics: dict[str, Tensor] | None = None
        self._begun = False
        self._check()
        for objective in self.objectives:
            objective.attach(self._trainable)
        if train_only is None:
            self._check_statistics_of_teacher()
        self.register_load_state_dict_post_hook(copy_student_to_what_was_not_loaded)
        # An objective may have a teacher of its own; all of them follow the student in the same way.
        self._teachers = [module for module in self.modules() if isinstance(module, EMATeacher)]
        self._frozen: list[nn.Module] = []
        if train_only is not None:
            freeze_all_but(student, train_only)
            networks = [student, *(teacher.network for teacher in self._teachers)]
            self._frozen = [module for network in networks for module in frozen_modules(network, train_only)]

    @property
    def evaluated(self) -> nn.Module:
        """The network that validates and predicts."""
        return self.student if self.evaluate == 'student' else self.teacher.network

    @property
    def out_channels(self) -> int:
        """Channels of the logits, which mmseg's test time augmentation asks for."""
        return self.evaluated.out_channels

    @property
    def decode_head(self) -> nn.Module:
        """Head of the evaluated network, asked for likewise."""
        return self.evaluated.decode_head

    def train(self, mode: bool = True) -> 'UDAWrapper':
        """Sets the mode; what is not trained stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def init_weights(self) -> None:
        """Initialises the student; teacher and frozen networks start as its copies."""
        self.student.init_weights()
        if self.teacher is not None:
            self.teacher.copy_from(self.student)
        for objective in self.objectives:
            objective.start_from(self._trainable)

    def forward(self, inputs: Tensor | StepContext, data_samples: list | tuple[int, int] | None = None,
                mode: str = 'tensor') -> Tensor | list | dict[str, Tensor]:
        """Predicts with the evaluated network (mmseg's modes), or runs a pass of an objective.

        The mode ``'objective'`` exists so that every forward of a step can go through a DDP module; ``data_samples``
        are then the numbers of its objective and of the pass.
        """
        if mode == 'objective':
            index, part = data_samples
            return self.objectives[index].passes[part](inputs)
        return self.evaluated(inputs, data_samples, mode)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper, ddp: nn.Module | None = None) -> dict[str, Tensor]:
        """Runs one iteration.

        Args:
            data: ``source`` and ``target`` batches of :class:`UDADataset`; one of them may be missing if no
                objective needs it.
            optim_wrapper: mmengine's optimiser wrapper.
            ddp: The DDP module around this model, if there is one.

        Returns:
            Log values on the CPU: ``loss`` and every objective's entries under its name.

        Raises:
            NonFiniteLossError: If a loss or a gradient is NaN or infinite on any process; optimiser and teacher are
                untouched by it on all of them.
        """
        if not self._begun:
            check_optimiser(self, optim_wrapper)
            check_padding([data.get(domain) for domain in ('source', 'target')], self.data_preprocessor)
            self._begun = True
        self._update_teacher()
        context = self._context(data)
        log: dict[str, Tensor] = {}
        passes = [(index, part) for index, objective in enumerate(self.objectives)
                  for part in range(len(objective.passes))]
        for index, part in passes:
            entries = self._run_pass(context, index, part, (index, part) == passes[-1], optim_wrapper, ddp)
            log['loss'] = log.get('loss', 0) + entries.pop('loss')
            log.update(entries)
        files = sum((domain.files for domain in (context.source, context.target) if domain is not None), ())
        log = read_finite(log, self._counts['iteration'] + 1, files, self, optim_wrapper)
        self._step(optim_wrapper)
        if self.keep_step:
            self.keep_step, self.kept_step = False, context.panel()
        if self.keep_statistics:
            self.keep_statistics, self.kept_statistics = False, target_statistics(context)
        return log

    def _update_teacher(self) -> None:
        # Gradient accumulation: the teacher follows the optimiser's updates, not the iterations.
        if self._teachers and self._counts['teacher_updates'] == self._counts['updates']:
            for teacher in self._teachers:
                teacher.update(self.student, self._counts['updates'])
            self._count('teacher_updates')

    def _context(self, data: dict) -> StepContext:
        source, target = (domain_batch(data.get(domain), self.data_preprocessor) for domain in ('source', 'target'))
        check_step(source, target, self.objectives)
        return StepContext(source, target, self._counts['iteration'], self.streams, self._trainable, self.teacher,
                           kept=needed_passes(self.objectives), corrections=corrections(self.objectives))

    def _run_pass(self, context: StepContext, index: int, part: int, last: bool, optim_wrapper: OptimWrapper,
                  ddp: nn.Module | None) -> dict[str, Tensor]:
        """Computes and back-propagates the losses of one pass of an objective; its graph is gone when this returns."""
        name = self.objectives[index].name
        # Dropout and drop path draw from torch's global stream: keyed for each pass, not handed on.
        stream = f'network.{name}.{part}' if part else f'network.{name}'
        torch.manual_seed(self.streams.integer(stream, self._counts['iteration'], get_rank()))
        module = self if ddp is None else ddp
        held_back = contextlib.nullcontext() if ddp is None or last else ddp.no_sync()
        with held_back, optim_wrapper.optim_context(module):
            losses = module(context, (index, part), mode='objective')
        if not any('loss' in key for key in losses):
            raise ValueError(f'the objective {name} gave no loss, only {sorted(losses)}: an entry whose key contains '
                             "'loss' is back-propagated; give one, or remove the objective from model.objectives")
        total, entries = self.parse_losses({f'{name}.{key}': value for key, value in losses.items()})
        self._backward(optim_wrapper, total, last)
        return {key: value.detach() for key, value in entries.items()}

    @staticmethod
    def _backward(optim_wrapper: OptimWrapper, loss: Tensor, last: bool) -> None:
        # mmengine counts one backward pass an iteration to know when accumulated gradients are due.
        count = counted_passes(optim_wrapper)
        optim_wrapper.backward(optim_wrapper.scale_loss(loss))
        set_counted_passes(optim_wrapper, count + 1 if last else count)

    def _step(self, optim_wrapper: OptimWrapper) -> None:
        self._count('iteration')
        if update_parameters(optim_wrapper):
            self._count('updates')

    def _count(self, counter: str) -> None:
        # A Python copy goes with each buffer: reading a buffer on a GPU would wait for it.
        self._counts[counter] += 1
        self.get_buffer(counter).add_(1)

    def _check_statistics_of_teacher(self) -> None:
        norms = any(isinstance(module, _BatchNorm) for module in self.student.modules())
        if self.evaluate == 'teacher' and norms and not any(each.needs_teacher for each in self.objectives):
            raise ValueError("model.evaluate is 'teacher', but no objective lets it predict, so its batch norms would be "
                             "tested with the statistics of the start: set model.evaluate='student'")

    def _check(self) -> None:
        if self.evaluate not in ('student', 'teacher'):
            raise ValueError(f"model.evaluate is '{self.evaluate}', allowed are 'student' and 'teacher'")
        if self.teacher is None and self.evaluate == 'teacher':
            raise ValueError("model.evaluate='teacher' needs a teacher: set model.teacher=dict(momentum=0.999)")
        check_objectives(self.objectives, self._trainable, has_teacher=self.teacher is not None)

    def _apply(self, *args, **kwargs) -> 'UDAWrapper':
        super()._apply(*args, **kwargs)
        for teacher in self._teachers:
            teacher.share_with(self.student)
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._counts = {counter: int(self.get_buffer(counter)) for counter in COUNTERS}


def copy_student_to_what_was_not_loaded(model: UDAWrapper, keys: _IncompatibleKeys) -> None:
    """Lets teachers and other copies of the student begin with weights for it alone, as ``load_from`` gives them.

    The first update of a teacher would copy parameters, but not the statistics of batch norms.
    """
    missing = set(keys.missing_keys)
    if not missing.isdisjoint(f'student.{name}' for name in model.student.state_dict()):
        return
    copies = {} if model.teacher is None else {'teacher': model.teacher}
    for index, objective in enumerate(model.objectives):
        copies.update({f'objectives.{index}.{name}': part for name, part in objective.copies_of_student.items()})
    for prefix, part in copies.items():
        # Batch norms fill in these counters by themselves, so they are never missing.
        names = {f'{prefix}.{name}' for name in part.state_dict() if not name.endswith('num_batches_tracked')}
        if names <= missing:
            part.copy_from(model.student)
