"""What objectives, student, teacher, optimiser and batch have to agree on."""
from collections import Counter
from collections.abc import Sequence
from functools import partial

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from ..models.segmentor_protocol import TrainableSegmentor
from .objectives import Objective
from .step_context import Correction, DomainBatch

# Objectives of this package that train on these images, for messages.
PROVIDERS = dict(source="dict(type='SourceSupervision')", mixed="dict(type='ClassMixSelfTraining')")


def check_objectives(objectives: Sequence[Objective], student: TrainableSegmentor, has_teacher: bool) -> None:
    """Refuses objectives that contradict each other or the model, when it is built.

    Raises:
        TypeError: If something is not an objective, or computes nothing.
        ValueError: If one needs what is not there, or comes before what it needs.
    """
    if not len(objectives):
        raise ValueError("model.objectives is empty: give at least dict(type='SourceSupervision')")
    for objective in objectives:
        _check_kind(objective)
    double = [name for name, n in Counter(objective.name for objective in objectives).items() if n > 1]
    if double:
        raise ValueError(f'several objectives are called {double}: give each a name of its own, name=...')
    wanting = [objective.name for objective in objectives if objective.needs_teacher]
    if wanting and not has_teacher:
        raise ValueError(f'the objectives {wanting} need a teacher: set model.teacher=dict(momentum=0.999)')
    wanting = [objective.name for objective in objectives if objective.needs_predictions]
    if wanting and not student.decodes:
        raise TypeError(f'the objectives {wanting} predict with the student, but {type(student.module).__name__} has no '
                        'method decode of SegmentorProtocol: add it, or remove them from model.objectives')
    _check_corrections(objectives, student)
    for index, objective in enumerate(objectives):
        _check_needs(objective, list(objectives[:index]), list(objectives[index + 1:]))


def _check_kind(objective: nn.Module) -> None:
    kind = type(objective)
    if not isinstance(objective, Objective):
        raise TypeError(f'model.objectives holds a {kind.__name__}, which is not an Objective')
    if kind.forward is Objective.forward and kind.passes is Objective.passes:
        raise TypeError(f'model.objectives holds a {kind.__name__}, which computes no loss: give the class a method '
                        'forward(context), or remove it')


def _check_needs(objective: Objective, earlier: Sequence[Objective], later: Sequence[Objective]) -> None:
    for key, (name, images) in {**objective.needs, **objective.corrects}.items():
        given = {other.name: other for other in earlier}.get(name)
        if given is not None and given.provides == images:
            continue
        use = f"uses the {images} images of '{name}' again" if key in objective.needs else \
            f"corrects the logits of the {images} images of '{name}'"
        who = f"the objective '{objective.name}' {use} ({key}=)"
        if any(other.name == name for other in later):
            raise ValueError(f"{who}, but '{name}' comes later in model.objectives: move it before '{objective.name}'")
        problem = 'model.objectives has no objective of that name' if given is None else \
            f'that is a {type(given).__name__}, which has none'
        fitting = [other.name for other in earlier if other.provides == images]
        remedy = f'set {key} to one of {fitting}' if fitting else \
            f'put an objective that trains on {images} images before it, such as {PROVIDERS[images]}'
        raise ValueError(f'{who}, but {problem}: {remedy}')


def _check_corrections(objectives: Sequence[Objective], student: TrainableSegmentor) -> None:
    correcting = [objective.name for objective in objectives if objective.corrects]
    if correcting and not student.adjusts:
        raise TypeError(f'the objectives {correcting} correct the logits that losses see, which '
                        f'{type(student.module).__name__} with {type(student.main_head).__name__} does not offer: let its '
                        'losses take adjust (SegmentorProtocol), or remove them from model.objectives')
    passes = [need.objective for objective in objectives for need in objective.corrects.values()]
    double = [name for name, n in Counter(passes).items() if n > 1]
    if double:
        raise ValueError(f'several of the objectives {correcting} correct the logits of {double}: keep one of them')


def corrections(objectives: Sequence[Objective]) -> dict[str, Correction]:
    """Returns what corrects the logits of a training forward, by the name of the objective that runs it."""
    return {need.objective: partial(objective.correct, need.images)
            for objective in objectives for need in objective.corrects.values()}


def needed_passes(objectives: Sequence[Objective]) -> frozenset[str]:
    """Returns the names of the objectives whose training forward another one uses again."""
    return frozenset(need.objective for objective in objectives for need in objective.needs.values())


def check_step(source: DomainBatch | None, target: DomainBatch | None, objectives: Sequence[Objective]) -> None:
    """Refuses a batch that lacks what the objectives need.

    Raises:
        ValueError: If it does.
    """
    wanting = [objective.name for objective in objectives if objective.needs_source]
    if wanting and (source is None or source.labels_BHW is None):
        raise ValueError(f"the objectives {wanting} need labelled images under the key 'source' of a batch: use "
                         "train_dataloader.dataset=dict(type='UDADataset', source=..., target=...)")
    wanting = [objective.name for objective in objectives if objective.needs_target]
    if target is None and wanting:
        raise ValueError(f'the objectives {wanting} need target images: set train_dataloader.dataset.target')


def check_optimiser(model: nn.Module, optim_wrapper: OptimWrapper) -> None:
    """Refuses, before the first iteration, parameters that ask for gradients but would never be updated.

    Raises:
        ValueError: If there are any.
        TypeError: If there are several optimisers.
    """
    if isinstance(optim_wrapper, OptimWrapperDict):
        raise TypeError('optim_wrapper builds several optimisers, but student and objectives are updated by one: give '
                        'one optimiser, with paramwise_cfg for rates that differ')
    known = {id(parameter) for group in optim_wrapper.param_groups for parameter in group['params']}
    lost = [name for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in known]
    if lost:
        raise ValueError(f'{len(lost)} parameters are trained, but the optimiser does not know them, {lost[0]} among '
                         'them: objectives build all of theirs in __init__ or attach(); an optimiser constructor '
                         '(optim_wrapper.constructor) has to take all parameters that ask for gradients')
