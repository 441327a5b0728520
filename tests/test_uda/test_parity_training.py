"""Whole training steps against numbers recorded from the published DAFormer/MIC implementation.

The fixtures hold what that implementation computed from weights, images and random choices that a rule fills in, so
every loss, label, gradient norm and updated weight can be compared. float64 is the sharp comparison.
"""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda.mixing import NUM_IDS
from mmseg_cicld.uda.strong_augmentation import SIGMA_RANGE
from parity_rules import checksum, fill_model, image, ours_to_reference, stats
from pass_through import PassThrough

ROOT = Path(__file__).parents[2]
PARITY = ROOT / 'tests' / 'data' / 'parity'
CASES = ['B1_daformer', 'B2_daformer_t150', 'B3_daformer_aug', 'E_deeplabv2']
SEGMENTORS = dict(mit_b0='daformer_sepaspp_mit-b0', r50='deeplabv2red_r50-d8')


class RecordedStreams(KeyedStreams):
    """Gives the random choices of a fixture in place of drawn ones."""

    def __init__(self, fixture) -> None:
        super().__init__(seed=0)
        object.__setattr__(self, 'fixture', fixture)

    def uniform(self, name, *key, size=None):
        fixture, iteration = self.fixture, key[0]
        coins = fixture['in/coins'].reshape(-1, 2)[iteration]
        if name == 'mix.classes':
            chosen = fixture['in/chosen_classes'][iteration, key[1]]
            scores = np.zeros(NUM_IDS)
            scores[chosen[chosen >= 0]] = 0.9
            return scores
        if name in ('mix.jitter_coin', 'mix.blur_coin'):
            return float(coins[int(name == 'mix.blur_coin')])
        row = iteration * 2 + key[1]
        if name == 'mix.blur_sigma':
            return (fixture['in/blur_sigma'][row] - SIGMA_RANGE[0]) / (SIGMA_RANGE[1] - SIGMA_RANGE[0])
        order = np.argsort(fixture['in/jitter_order'][row]) / 4
        factors = [float(fixture[f'in/jitter_{name}_factor'][row, 0])
                   for name in ('brightness', 'contrast', 'saturation', 'hue')]
        return np.concatenate([order, (np.array(factors) - [1, 1, 1, 0]) / 0.4 + 0.5])


class RecordingOptimWrapper(OptimWrapper):
    """Keeps the norms of the accumulated gradients after each backward pass."""

    def backward(self, loss, **kwargs) -> None:
        super().backward(loss, **kwargs)
        self.norms.append(group_norms(self.student))


def group_norms(student) -> list[float]:
    sums = [0.0, 0.0]
    for name, parameter in student.named_parameters():
        if parameter.grad is not None:
            sums[name.startswith('decode_head')] += float(parameter.grad.double().square().sum())
    return [value**0.5 for value in sums]


def get(fixture, key: str, precision: str):
    name = f'{precision}/{key}'
    return fixture[name] if name in fixture.files else fixture[f'f32/{key}']


class Case:
    """Runs one fixture and compares every number on the way."""

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision = name, precision
        self.fixture = np.load(PARITY / f'{name}.npz')
        self.config = json.loads(str(self.fixture['in/config_json']))
        self.dtype = torch.float64 if precision == 'f64' else torch.float32
        self.resnet = self.config['kind'] == 'r50'
        self.model = self._model()
        self.optim_wrapper = self._optim_wrapper()
        self.initial = dict(student=self.tensors(self.model.student), teacher=self.tensors(self.model.teacher.network))
        # The first update copies the student's parameters; buffers stay the teacher's own.
        self.initial['teacher'].update(ours_to_reference(
            {name: p.detach().clone() for name, p in self.model.student.named_parameters()}))

    @staticmethod
    def tensors(network) -> dict:
        return ours_to_reference({name: tensor.clone() for name, tensor in network.state_dict().items()})

    def expected(self, key: str):
        return get(self.fixture, key, self.precision)

    def _model(self):
        segmentor = Config.fromfile(ROOT / f'configs/_base_/models/{SEGMENTORS[self.config["kind"]]}.py').model
        segmentor.backbone.init_cfg = None
        if self.resnet:
            segmentor.pretrained = None
        else:
            segmentor.backbone.drop_path_rate = 0.0
            segmentor.decode_head.dropout_ratio = 0.0
        distance = self.config.get('fd')
        objectives = [
            dict(type='SourceSupervision', feature_distance=distance and dict(
                weight=distance['lam'], classes=distance['classes'], min_ratio=distance['min_ratio'])),
            dict(type='ClassMixSelfTraining', threshold=self.config['threshold'],
                 ignore_top=self.config.get('top', 0), ignore_bottom=self.config.get('bottom', 0))]
        model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=objectives,
                                  teacher=dict(momentum=self.config['alpha'])))
        fill_model(model.student)
        fill_model(model.teacher.network, prefix='ema_model.')
        if distance:
            fill_model(model.objectives[0].feature_distance.frozen, prefix='imnet_model.')
        model.to(self.dtype)
        model.data_preprocessor = model.student.data_preprocessor = PassThrough().to(self.dtype)
        model.streams = RecordedStreams(self.fixture)
        model.objectives[1].register_forward_pre_hook(lambda module, args: setattr(self, 'context', args[0]))
        return model.train()

    def _optim_wrapper(self):
        schedule = 'adamw_poly_40k_cnn' if self.resnet else 'adamw_poly_40k_mit'
        config = Config.fromfile(ROOT / f'configs/_base_/schedules/{schedule}.py').optim_wrapper
        config.type = RecordingOptimWrapper
        wrapper = build_optim_wrapper(self.model, config)
        wrapper.norms, wrapper.student = [], self.model.student
        for group in wrapper.optimizer.param_groups:
            group['lr_mult'] = group['lr'] / 6e-5
        return wrapper

    def batch(self, domain: str, iteration: int) -> dict:
        height, width = self.config['H'], self.config['W']
        key = dict(source='src', target='trg')[domain]
        images = image(f'visible/{self.name}/{key}{iteration}', (2, 3, height, width))
        np.testing.assert_allclose(checksum(images), self.fixture[f'in/img_checksum_{key}{iteration}'], atol=1e-12)
        samples = []
        for index in range(2):
            sample = SegDataSample()
            if domain == 'source':
                label = torch.from_numpy(self.fixture['in/labels_src'][iteration, index]).long()
                sample.gt_sem_seg = PixelData(data=label[None])
            elif 'in/valid_pseudo_mask' in self.fixture.files:
                valid = torch.from_numpy(self.fixture['in/valid_pseudo_mask'][index])
                sample.valid_pseudo_mask = PixelData(data=valid)
            samples.append(sample)
        return dict(inputs=torch.from_numpy(images).to(self.dtype), data_samples=samples)

    def run(self) -> None:
        for iteration in range(self.config['n_it']):
            learning_rate = self.expected('lr_backbone_head')[iteration]
            for group in self.optim_wrapper.optimizer.param_groups:
                group['lr'] = float(learning_rate[0]) * group['lr_mult']
            self.optim_wrapper.norms.clear()
            data = dict(source=self.batch('source', iteration), target=self.batch('target', iteration))
            log = self.model.train_step(data, self.optim_wrapper)
            self.compare_step(iteration, log)
            self.compare_weights(iteration + 1)

    # -- comparisons ----------------------------------------------------------------------------------------------

    def tolerance(self, iteration: int, weighted: bool) -> float:
        if self.precision == 'f64':
            if self.name == 'B3_daformer_aug' and weighted:
                return 1e-5
            return 1e-7 if weighted or iteration else 1e-9
        if self.resnet:
            return 5e-3 if iteration else 1e-3
        return 2e-4 if iteration else 1e-4 if weighted else 1e-5

    def compare_step(self, iteration: int, log: dict) -> None:
        pairs = [('decode.loss_seg', 'source.decode.loss_ce', False), ('mix.decode.loss_seg', 'mix.decode.loss_ce', True)]
        if self.config.get('fd'):
            pairs.append(('src.loss_imnet_feat_dist', 'source.loss_feature_distance', False))
        for theirs, ours, weighted in pairs:
            np.testing.assert_allclose(float(log[ours]), self.expected(f'log.{theirs}')[iteration],
                                       rtol=self.tolerance(iteration, weighted), err_msg=ours)
        self.compare_pseudo_labels(iteration)
        theirs = self.expected('grad_norm_after_backward')[iteration]
        last_of_source = len(theirs) - 2
        tolerance = 1e-7 if self.precision == 'f64' else 3e-2 if self.resnet else 2e-3
        tolerance = max(tolerance, 1e-5) if self.name == 'B3_daformer_aug' else tolerance
        for ours, row in zip(self.optim_wrapper.norms, (last_of_source, last_of_source + 1)):
            np.testing.assert_allclose(ours, theirs[row], rtol=tolerance * (1 if iteration == 0 else 2))

    def compare_pseudo_labels(self, iteration: int) -> None:
        rule = self.model.objectives[1].rule
        pseudo = self.context.pseudo_labels(rule)
        mixed = self.context.mixed(rule, self.model.objectives[1].augmentation)
        labels = self.expected('pseudo_label')[iteration]
        wrong = int((pseudo.labels_BHW.numpy() != labels).sum())
        share = float(pseudo.confident_share)
        if self.precision == 'f64':
            assert wrong == 0
            assert share == self.expected('pseudo_q')[iteration]
            assert np.array_equal(mixed.labels_BHW.numpy(), self.expected('mix_label')[iteration])
        else:
            assert wrong <= (0.02 * labels.size if self.resnet else 10)
            assert abs(share - self.expected('pseudo_q')[iteration]) <= (5e-3 if self.resnet else 5 / labels.size)
        image_tolerance = 5e-7 if self.precision == 'f64' else 5e-5
        np.testing.assert_allclose(mixed.images_BCHW[:, :, ::16, ::16], self.expected('mix_img_slice')[iteration],
                                   atol=image_tolerance)
        weight_tolerance = 1e-7 if self.precision == 'f64' else 6e-3 if self.resnet else 1e-3
        np.testing.assert_allclose(mixed.weights_BHW[:, ::4, ::4], self.expected('mix_weight_slice')[iteration],
                                   atol=weight_tolerance)
        np.testing.assert_array_equal(mixed.mask_BHW.numpy(), self.fixture['in/mix_mask'][iteration] == 1)

    def compare_weights(self, finished: int) -> None:
        for network, name in ((self.model.student, 'student'), (self.model.teacher.network, 'teacher')):
            if f'f32/{name}_sel_after{finished}' not in self.fixture.files:
                continue
            tensors = self.tensors(network)
            expected = self.expected(f'{name}_sel_after{finished}')
            for tensor, row in zip(self.fixture['in/selected'].tolist(), expected):
                self.compare_tensor(f'{name} {tensor}', tensors[tensor], self.initial[name][tensor], row)

    def compare_tensor(self, name: str, value, initial, row) -> None:
        ours = stats(value, initial)
        if self.precision == 'f64':
            # The published jitter keeps its factors in float32, which the augmented case inherits.
            exact, change = (5e-7, 1e-4) if self.name == 'B3_daformer_aug' else (1e-9, 1e-6)
            np.testing.assert_allclose(ours[:8], row[:8], atol=exact, rtol=exact, err_msg=name)
            np.testing.assert_allclose(ours[8], row[8], rtol=change, atol=1e-12, err_msg=name)
        elif not name.endswith('attn.kv.bias'):
            # AdamW turns the rounding noise of a vanishing gradient into steps, so that one key bias is left out.
            learning_rate = 5e-4 if self.resnet else 10 * float(self.expected('lr_backbone_head')[-1][0])
            np.testing.assert_allclose(ours[2:7], row[2:7], atol=learning_rate + 2e-6, err_msg=name)


@pytest.mark.parametrize('precision', ['f64', 'f32'])
@pytest.mark.parametrize('name', CASES)
def test_training_step(name, precision):
    Case(name, precision).run()
