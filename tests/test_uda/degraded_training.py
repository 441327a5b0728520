"""A model that trains with degradation consistency, and steps of it that keep what the degraded passes saw."""
import copy

import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.uda import ClassMixEMA

SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
MASKED = dict(type='MaskedConsistency', block=16, threshold=0.06)
DEGRADED = dict(type='DegradationConsistency', threshold=0.06)
VARIANTS = [(None, None), ('shared', None), ('shared', 'shared_head'), ('shared', 'own_head'), ('separate', 'own_head')]


def build(segmentor: dict, objectives, **kwargs) -> ClassMixEMA:
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(segmentor),
                                   objectives=copy.deepcopy(objectives),
                                   **{'teacher': dict(momentum=0.9), **kwargs})).train()


def step(model: ClassMixEMA, data: dict, lr: float = 1e-2, momentum: float = 0.0) -> dict:
    """One step; ``model.contexts`` and ``model.forwards`` keep what the degraded passes saw and did."""
    model.contexts, model.forwards = [], {}

    def before(module, args, kwargs):
        context, student_losses = args[0], args[0].student_losses

        def record(name, features, batch):
            model.forwards[name] = batch
            return student_losses(name, features, batch)

        if not model.contexts:
            context.student_losses = record
        model.contexts.append(context)

    handle = model.objectives[-1].register_forward_pre_hook(before, with_kwargs=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr, momentum=momentum)))
    handle.remove()
    return log
