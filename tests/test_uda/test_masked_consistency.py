"""Masked image consistency: masks, supervision of each mode, teachers, and every method it is put on."""
import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS

from mmseg_cicld.random_streams import KeyedStreams
from mmseg_cicld.uda import ClassMixEMA
from mmseg_cicld.uda.objectives.masked_consistency import block_masks

SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
MASKED = dict(type='MaskedConsistency', block=16, threshold=0.06)
METHODS = dict(
    dacs=[SOURCE, MIX],
    daformer=[dict(SOURCE, feature_distance=dict(weight=0.005, min_ratio=0.25)), MIX],
    advseg=[SOURCE, dict(type='OutputSpaceAdversarial')],
    minent=[SOURCE, dict(type='EntropyMinimisation')],
    source_only=[SOURCE])


def build(segmentor: dict, objectives, teacher: dict | None = dict(momentum=0.9)) -> ClassMixEMA:
    torch.manual_seed(0)
    return MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(list(objectives)),
                             teacher=teacher)).train()


def step(model: ClassMixEMA, data: dict, lr: float = 1e-2) -> dict:
    """One step; ``model.contexts`` and ``model.masked_batches`` keep what the masked objective saw and did."""
    model.contexts, model.masked_batches = [], []
    masked = model.objectives[-1]

    def before(module, args):
        context = args[0]
        train_student = context.train_student

        def record(name, *batch):
            model.masked_batches.append(batch)
            model.trained = train_student(name, *batch)
            return model.trained

        context.train_student = record
        model.contexts.append(context)

    handle = masked.register_forward_pre_hook(before)
    parameters = [p for p in model.parameters() if p.requires_grad]
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(parameters, lr=lr)))
    handle.remove()
    return log


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 32), st.floats(0, 1), st.integers(0, 99))
def test_masks_hide_whole_blocks(rows, columns, block, ratio, seed):
    size = (rows + block, columns + block)
    masks = block_masks(size, block, ratio, KeyedStreams(seed).uniform, range(2))
    assert masks.shape == (2, 1, *size) and set(masks.unique().tolist()) <= {0.0, 1.0}
    grid = [round(side / block) for side in size]
    draws = KeyedStreams(seed).uniform('noise', 1, size=tuple(grid))
    row, column = (np.floor(np.arange(side) * (cells / side)).astype(int) for side, cells in zip(size, grid))
    difference = masks[1, 0].numpy() != (draws > ratio)[row][:, column]
    assert difference.mean() < 0.1  # nearest resizing may round a border to either side


def test_share_of_hidden_blocks():
    masks = block_masks((1024, 1024), 64, 0.7, KeyedStreams(0).uniform, range(16))
    assert float(1 - masks.mean()) == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(masks[0], masks[1])
    blocks = masks.unfold(2, 64, 64).unfold(3, 64, 64).flatten(4)
    assert blocks.shape[2:4] == (16, 16) and bool((blocks.amin(-1) == blocks.amax(-1)).all())


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('images', ['target', 'source', 'both'])
def test_goes_on_top_of_every_method(segmentor, batch, method, images):
    model = build(segmentor(), [*METHODS[method], dict(MASKED, images=images)])
    log = step(model, batch())
    assert float(log['masked.decode.loss_ce']) > 0
    inputs = model.masked_batches[0][0]
    hidden = (inputs == 0).all(dim=1).float().mean()
    assert 0.4 < float(hidden) < 0.95


@pytest.mark.parametrize('size', [1, 2, 3])
@pytest.mark.parametrize('images', ['target', 'source', 'both'])
def test_supervision_of_each_mode(segmentor, batch, images, size):
    model = build(segmentor(), [SOURCE, MIX, dict(MASKED, images=images, augment=False)])
    step(model, batch(images=size))
    context, (inputs, labels, weights) = model.contexts[0], model.masked_batches[0]
    pseudo = context.pseudo_labels(model.objectives[-1].rule)
    half = (size + 1) // 2
    if images == 'source':
        expected = context.source.images_BCHW, context.source.labels_BHW
        assert weights is None
    elif images == 'target':
        expected = context.target.images_BCHW, pseudo.labels_BHW
        assert torch.equal(weights, pseudo.weights_BHW)
    else:
        expected = (torch.cat([context.source.images_BCHW[:half], context.target.images_BCHW[:half]]),
                    torch.cat([context.source.labels_BHW[:half], pseudo.labels_BHW[:half]]))
        assert bool((weights[:half] == 1).all())
        assert torch.equal(weights[half:], pseudo.weights_BHW[:half])
    visible = (inputs != 0).any(dim=1, keepdim=True)
    torch.testing.assert_close(inputs, expected[0] * visible)
    assert torch.equal(labels, expected[1])


def test_mixing_leaves_the_weights_of_the_masked_images_alone(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, MASKED])
    step(model, batch())
    weights = model.masked_batches[0][2]
    assert float(weights.min()) == float(weights.max()) == float(
        model.contexts[0].pseudo_labels(model.objectives[-1].rule).confident_share)


def test_augmentation_shares_order_and_blur_but_not_factors(segmentor, batch):
    model = build(segmentor(), [SOURCE, dict(MASKED, ratio=0.0, images='target')])
    seen = []
    for seed in range(12):
        model.streams = KeyedStreams(seed)
        step(model, batch(), lr=0.0)
        seen.append(not torch.equal(model.masked_batches[0][0], model.contexts[0].target.images_BCHW))
    assert 6 <= sum(seen) <= 12  # nine of ten batches are jittered or blurred
    draws = []

    def uniform(name, *key, size=None):
        draws.append((name, *key))
        return 0.95 if size is None else np.full(size, 0.5)

    images = torch.randn(3, 3, 16, 16)
    constants = torch.full((1, 3, 1, 1), 128.), torch.full((1, 3, 1, 1), 64.)
    model.objectives[-1].augmentation(images, constants, uniform, [4, 5, 6])
    assert {tuple(draw[1:]) for draw in draws if draw[0] == 'blur_sigma'} == {(0, )}
    assert {tuple(draw[1:]) for draw in draws if draw[0] == 'jitter'} == {(0, ), (4, ), (5, ), (6, )}


def test_weight_scales_the_main_loss_alone(segmentor, batch):
    for weight in (1.0, 0.25):
        model = build(segmentor('auxiliary'), [SOURCE, MIX, dict(MASKED, weight=weight)])
        log = step(model, batch())
        assert {key for key in log if key.startswith('masked.')} == {f'masked.{key}' for key in model.trained.losses}
        for key, value in model.trained.losses.items():
            factor = weight if key == 'decode.loss_ce' else 1.0
            assert float(log[f'masked.{key}']) == pytest.approx(factor * float(value)), key


def test_a_teacher_of_its_own(segmentor, batch):
    own = dict(MASKED, own_teacher=dict(momentum=0.0), threshold=None)
    model = build(segmentor(), [SOURCE, MIX, own])
    for _ in range(3):
        before = copy.deepcopy(model.student.state_dict())
        step(model, batch(), lr=0.5)
        for name, parameter in model.objectives[2].teacher.network.named_parameters():
            assert torch.equal(parameter, before[name]), name  # momentum 0: the student before the update
        assert bool((model.masked_batches[0][2] == 1).all())
    shared = dict(model.teacher.network.named_parameters())
    assert any(not torch.equal(p, shared[name]) for name, p in model.objectives[2].teacher.network.named_parameters())
    assert any(name.startswith('objectives.2.teacher.network.') for name in model.state_dict())


def test_own_teacher_needs_none_beside_it(segmentor, batch):
    model = build(segmentor(), [*METHODS['minent'], dict(MASKED, own_teacher=dict(momentum=0.9))], teacher=None)
    assert float(step(model, batch())['masked.decode.loss_ce']) > 0


def test_initialisation_reaches_the_own_teacher(segmentor):
    model = build(segmentor(), [SOURCE, dict(MASKED, own_teacher=dict(momentum=0.9))], teacher=None)
    model.init_weights()
    for one, other in zip(model.student.state_dict().values(),
                          model.objectives[1].teacher.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_weights_for_the_student_alone_reach_the_own_teacher(segmentor):
    model = build(segmentor(), [SOURCE, dict(MASKED, own_teacher=dict(momentum=0.9))], teacher=None)
    student = {f'student.{name}': torch.rand_like(value) if value.is_floating_point() else value
               for name, value in model.student.state_dict().items()}
    load_state_dict(model, student)
    assert all(value.equal(student[f'student.{name}'])
               for name, value in model.objectives[1].teacher.network.state_dict().items())


def test_the_picture_of_a_step_shows_the_masked_images(segmentor, batch):
    model = build(segmentor(), [SOURCE, MIX, MASKED])
    model.keep_step = True
    step(model, batch())
    assert model.kept_step['masked_image'].shape == (2, 3, 64, 64)


@pytest.mark.parametrize('change, message', [
    (dict(images='mixed'), "images='mixed', allowed are"),
    (dict(block=0), 'block=0'),
    (dict(ratio=1.2), 'ratio=1.2'),
    (dict(images='source', own_teacher=dict(momentum=0.9)), 'has no pseudo-labels'),
    (dict(threshold=2.0), 'allowed are values in'),
])
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(MASKED, **change))


def test_missing_teacher_and_missing_target_are_named(segmentor, batch):
    with pytest.raises(ValueError, match=r"\['masked'\] need a teacher"):
        build(segmentor(), [SOURCE, MASKED], teacher=None)
    model = build(segmentor(), [SOURCE, dict(MASKED, images='source')], teacher=None)
    assert float(step(model, dict(source=batch()['source']))['masked.decode.loss_ce']) > 0


def test_images_smaller_than_a_block_are_refused():
    with pytest.raises(ValueError, match='no room for blocks of 64.*lower block'):
        block_masks((20, 200), 64, 0.7, KeyedStreams(0).uniform, range(1))
