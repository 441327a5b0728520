"""Runs the training steps of one parity fixture with the fixture's own weights, images and random choices."""
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from parity_fixtures import ROOT, Fixture, segmentor_config
from parity_rules import checksum, fill_model, image, ours_to_reference
from pass_through import PassThrough
from torch import Tensor, nn

from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda.mixing import NUM_IDS
from mmseg_cicld.uda.step_context import StepContext
from mmseg_cicld.uda.strong_augmentation import SIGMA_RANGE

BASE_RATE = 6e-5
CROP_GRID = 8
OBJECTIVES = ('source', 'mix', 'masked')
MASKED_IMAGES = dict(separate='both', separatesrc='source', separatetrg='target')


class RecordedStreams(KeyedStreams):
    """Gives the random choices of a fixture in place of drawn ones."""

    def __init__(self, fixture: Fixture) -> None:
        super().__init__(seed=0)
        object.__setattr__(self, 'fixture', fixture)

    def uniform(self, name, *key, size=None):
        objective, _, what = name.partition('.')
        iteration, *index = key
        given = self.fixture.given
        if what == 'crop_box':
            if 'hrda' not in self.fixture.config:
                return [0.0, 0.0]
            return self._box_draws(given('hr_boxes')[iteration, OBJECTIVES.index(objective)])
        if what == 'noise':
            return given('mic_noise')[iteration, index[0], 0]
        if what == 'classes':
            return self._class_scores(given('chosen_classes')[iteration, index[0]])
        if what in ('jitter_coin', 'blur_coin'):
            coins = given('coins').reshape(self.fixture.config['n_it'], -1, 2)[iteration]
            return float(coins[OBJECTIVES.index(objective) - 1][int(what == 'blur_coin')])
        row = iteration * 2 + index[0]
        if what == 'blur_sigma':
            return (given('blur_sigma')[row] - SIGMA_RANGE[0]) / (SIGMA_RANGE[1] - SIGMA_RANGE[0])
        assert what == 'jitter', name
        factors = [float(given(f'jitter_{operation}_factor')[row, 0])
                   for operation in ('brightness', 'contrast', 'saturation', 'hue')]
        return np.concatenate([np.argsort(given('jitter_order')[row]) / 4,
                               (np.array(factors) - [1, 1, 1, 0]) / 0.4 + 0.5])

    def _box_draws(self, box: np.ndarray) -> list[float]:
        (height, width), config = self.fixture.config['hrda']['hr_crop_size'], self.fixture.config
        counts = [(side + 1) // CROP_GRID for side in (config['H'] - height, config['W'] - width)]
        return [(offset // CROP_GRID + 0.5) / count for offset, count in zip(box[[0, 2]], counts)]

    @staticmethod
    def _class_scores(chosen: np.ndarray) -> np.ndarray:
        scores = np.zeros(NUM_IDS)
        scores[chosen[chosen >= 0]] = 0.9
        return scores


class RecordingOptimWrapper(OptimWrapper):
    """Keeps the norms of the gradients of backbone and head after each backward pass, and the last gradients."""

    def attach(self, student: nn.Module, precision: Callable[[], AbstractContextManager]) -> None:
        self.student, self.precision = student, precision
        self.accumulated: list[list[float]] = []
        self.added: list[list[float]] = []
        self.gradients: dict[str, Tensor] = {}

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), self.precision():
            yield

    def backward(self, loss, **kwargs) -> None:
        before = self._clone_gradients()
        super().backward(loss, **kwargs)
        after = self._clone_gradients()
        self.accumulated.append(self._group_norms(after))
        self.added.append(self._group_norms({name: gradient - before.get(name, 0)
                                             for name, gradient in after.items()}))
        self.gradients = after

    def _clone_gradients(self) -> dict[str, Tensor]:
        return {name: parameter.grad.double().clone()
                for name, parameter in self.student.named_parameters() if parameter.grad is not None}

    @staticmethod
    def _group_norms(gradients: dict[str, Tensor]) -> list[float]:
        sums = [0.0, 0.0]
        for name, gradient in gradients.items():
            sums[name.startswith('decode_head')] += float(gradient.square().sum())
        return [value**0.5 for value in sums]


class Case:
    """A model as the fixture's config asks for, and its training steps on a device, in bfloat16 where that is asked for."""

    def __init__(self, name: str, precision: str, device: str = 'cpu', autocast: bool = False) -> None:
        self.fixture, self.device, self.autocast = Fixture(name, precision), device, autocast
        self.config = self.fixture.config
        self.resnet = self.config['kind'] == 'r50'
        self.model = self._model()
        self.optim_wrapper = self._optim_wrapper()
        self.initial = {name: self._initial(network) for name, network in self.networks().items()}

    def precision(self) -> torch.autocast:
        """What forward passes run in."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.autocast)

    def networks(self) -> dict[str, nn.Module]:
        """Returns student, teacher and the teacher of masked consistency, if it has one, by the fixture's names."""
        teachers = dict(teacher=self.model.teacher)
        if 'alpha' in self.config.get('mic', {}):
            teachers['micteacher'] = self.model.objectives[2].teacher
        return dict(student=self.model.student, **{name: teacher.network for name, teacher in teachers.items()})

    def _initial(self, network: nn.Module) -> dict[str, Tensor]:
        # The first update copies the student's parameters; buffers stay the teacher's own.
        parameters = {key: parameter.detach().clone() for key, parameter in self.model.student.named_parameters()}
        return published(network) | ours_to_reference(parameters)

    def steps(self) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Runs the steps; gives the iteration and what was logged after each."""
        for iteration in range(self.config['n_it']):
            rate = float(self.fixture['lr_backbone_head'][iteration][0])
            for group in self.optim_wrapper.optimizer.param_groups:
                group['lr'] = rate * group['lr_mult']
            self.optim_wrapper.attach(self.model.student, self.precision)
            data = {domain: self._batch(domain, iteration) for domain in ('source', 'target')}
            yield iteration, self.model.train_step(data, self.optim_wrapper)

    def optimiser_settings(self) -> dict[str, tuple[float, float]]:
        """Returns learning rate multiplier and weight decay of each parameter by its published name."""
        names = {id(parameter): name for name, parameter in self.model.student.named_parameters()}
        settings = {}
        for group in self.optim_wrapper.optimizer.param_groups:
            for parameter in group['params']:
                if id(parameter) in names:
                    row = torch.tensor([group['lr_mult'], group['weight_decay']], dtype=torch.float64)
                    # Carried through the renaming as values, which splits queries from keys and values.
                    full = row.reshape(2, *[1] * parameter.ndim).expand(2, *parameter.shape)
                    rates, decays = (ours_to_reference({names[id(parameter)]: value}) for value in full)
                    settings.update({name: (float(rates[name].max()), float(decays[name].max())) for name in rates})
        return settings

    def _model(self) -> nn.Module:
        model = MODELS.build(dict(
            type='ClassMixEMA', segmentor=segmentor_config(self.config['kind'], self.config.get('hrda')),
            objectives=self._objectives(), teacher=dict(momentum=self.config['alpha'])))
        fill_model(model.student)
        fill_model(model.teacher.network, prefix='ema_model.')
        if 'alpha' in self.config.get('mic', {}):
            fill_model(model.objectives[2].teacher.network, prefix='mic.teacher.ema_model.')
        if self.config.get('fd'):
            fill_model(model.objectives[0].feature_distance.frozen, prefix='imnet_model.')
        model.to(self.fixture.dtype)
        model.data_preprocessor = model.student.data_preprocessor = PassThrough().to(self.fixture.dtype)
        model.to(self.device).streams = RecordedStreams(self.fixture)
        model.objectives[0].register_forward_pre_hook(lambda module, args: self._listen(args[0]))
        return model.train()

    def _listen(self, context: StepContext) -> None:
        """Keeps the context of a step and what the student is trained on in it, by objective."""
        self.context, self.trained = context, {}
        student_losses = context.student_losses

        def listening(name: str, features, batch):
            self.trained[name] = batch
            return student_losses(name, features, batch)

        context.student_losses = listening

    def _objectives(self) -> list[dict]:
        distance, masked = self.config.get('fd'), self.config.get('mic')
        margins = dict(ignore_top=self.config.get('top', 0), ignore_bottom=self.config.get('bottom', 0))
        objectives = [
            dict(type='SourceSupervision', feature_distance=distance and dict(
                weight=distance['lam'], classes=distance['classes'], min_ratio=distance['min_ratio'])),
            dict(type='ClassMixSelfTraining', threshold=self.config['threshold'], **margins)]
        if masked:
            objectives.append(dict(
                type='MaskedConsistency', block=masked['block'], ratio=masked['ratio'], weight=masked.get('lam', 1.0),
                images=MASKED_IMAGES[masked['mode'].removesuffix('aug')], augment=masked['mode'].endswith('aug'),
                threshold=masked.get('threshold', self.config['threshold']), **margins,
                own_teacher=dict(momentum=masked['alpha']) if 'alpha' in masked else None))
        return objectives

    def _optim_wrapper(self) -> RecordingOptimWrapper:
        schedule = 'adamw_poly_40k_cnn' if self.resnet else 'adamw_poly_40k_mit'
        config = Config.fromfile(ROOT / f'configs/_base_/schedules/{schedule}.py').optim_wrapper
        config.type = RecordingOptimWrapper
        wrapper = build_optim_wrapper(self.model, config)
        for group in wrapper.optimizer.param_groups:
            group['lr_mult'] = group['lr'] / BASE_RATE
        return wrapper

    def _batch(self, domain: str, iteration: int) -> dict:
        key = dict(source='src', target='trg')[domain]
        images = image(f'visible/{self.fixture.name}/{key}{iteration}', (2, 3, self.config['H'], self.config['W']))
        np.testing.assert_allclose(checksum(images), self.fixture.given(f'img_checksum_{key}{iteration}'), atol=1e-12)
        samples = [SegDataSample(), SegDataSample()]
        for index, sample in enumerate(samples):
            valid = self.fixture.given('valid_pseudo_mask')
            if domain == 'source':
                label = torch.from_numpy(self.fixture.given('labels_src')[iteration, index]).long()
                sample.gt_sem_seg = PixelData(data=label[None].to(self.device))
            elif valid is not None:
                sample.valid_pseudo_mask = PixelData(data=torch.from_numpy(valid[index]).to(self.device))
        return dict(inputs=torch.from_numpy(images).to(self.device, self.fixture.dtype), data_samples=samples)


def published(network: nn.Module) -> dict[str, Tensor]:
    """Returns copies of a segmentor's tensors by their published names."""
    return ours_to_reference({name: tensor.clone() for name, tensor in network.state_dict().items()})
