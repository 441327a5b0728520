"""mmseg's layer-wise learning rates (BEiT, MAE, ConvNeXt) for a segmentor that is trained as a student.

Backbones of the transformers library, which mmseg does not know, have them by :mod:`transformer_rates`.
"""
import re
from collections.abc import Iterator, Mapping

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.engine.optimizers import LayerDecayOptimizerConstructor, LearningRateDecayOptimizerConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn

from ..models.backbones import TunedBackbone
from .transformer_rates import has_decay, transformer_groups, transformer_of


class _Untuned:
    """A segmentor as its layers are called without the wrapper of a tuned backbone; what was added is of its layer."""

    def __init__(self, segmentor: nn.Module) -> None:
        self._segmentor = segmentor
        self.backbone = segmentor.backbone.backbone

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._segmentor.named_parameters():
            yield re.sub(r'^backbone\.(backbone|added)\.', 'backbone.', name), parameter

class _OfStudent(DefaultOptimWrapperConstructor):
    """Hands the student of a wrapper on as the bare segmentor whose layers mmseg's rules know by name.

    Whatever else is trained (discriminators of objectives) has the rate of the last layers, the base rate, and their
    rule of weight decay: none on biases and one-dimensional parameters. A bare segmentor is treated as mmseg does.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Adds the groups of a module to ``params``, see mmseg."""
        student = getattr(module, 'student', None)
        if not isinstance(student, nn.Module):
            self._add_segmentor(params, module, **kwargs)
            return
        self._add_segmentor(params, student, **kwargs)
        of_student = {id(parameter) for parameter in student.parameters()}
        others = [(name, parameter) for name, parameter in module.named_parameters()
                  if parameter.requires_grad and id(parameter) not in of_student]
        for kind, decayed in (('decay', True), ('no_decay', False)):
            chosen = [(name, parameter) for name, parameter in others
                      if has_decay(name, parameter, self.paramwise_cfg) == decayed]
            if chosen:
                params.append(dict(
                    params=[parameter for _, parameter in chosen], param_names=[name for name, _ in chosen],
                    weight_decay=self.base_wd if decayed else 0., lr_scale=1., lr=self.base_lr,
                    group_name=f'beside_the_student_{kind}'))

    def _add_segmentor(self, params: list[dict], segmentor: nn.Module, **kwargs) -> None:
        transformer = transformer_of(segmentor)
        if transformer is not None:
            params.extend(transformer_groups(segmentor, transformer, self.base_lr, self.base_wd, self.paramwise_cfg))
            return
        layers = _Untuned(segmentor) if isinstance(getattr(segmentor, 'backbone', None), TunedBackbone) else segmentor
        try:
            super().add_params(params, layers, **kwargs)
        except NotImplementedError as error:
            raise ValueError('optim_wrapper.constructor gives rates by layer to BEiT, MAE and TransformersBackbone '
                             '(decay_type=layer_wise) and ConvNeXt (layer_wise, stage_wise), not to '
                             f'{type(layers.backbone).__name__}: change optim_wrapper.paramwise_cfg.decay_type, or '
                             'remove the constructor') from error


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='LearningRateDecayOptimizerConstructor', force=True)
class StudentLearningRateDecay(_OfStudent, LearningRateDecayOptimizerConstructor):
    """mmseg's ``LearningRateDecayOptimizerConstructor``, which sees the student of a wrapper and all else as it is."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='LayerDecayOptimizerConstructor', force=True)
class StudentLayerDecay(_OfStudent, LayerDecayOptimizerConstructor):
    """mmseg's older ``LayerDecayOptimizerConstructor``, likewise."""


def refuse_stock_layer_decay(optim_wrapper: OptimWrapper | Mapping) -> None:
    """Refuses mmseg's own classes, which a config can name by import; they know the layers of bare segmentors only.

    Raises:
        ValueError: If ``optim_wrapper.constructor`` is one.
    """
    constructor = optim_wrapper.get('constructor') if isinstance(optim_wrapper, Mapping) else None
    stock = (LearningRateDecayOptimizerConstructor, LayerDecayOptimizerConstructor)
    if isinstance(constructor, type) and issubclass(constructor, stock) and not issubclass(constructor, _OfStudent):
        raise ValueError(f'optim_wrapper.constructor is the class {constructor.__name__}, which does not find the '
                         f"layers of a student: give its name, optim_wrapper.constructor='{constructor.__name__}'")
