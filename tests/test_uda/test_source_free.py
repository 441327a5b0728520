"""Adaptation without source images: losses against direct formulas, and a collapse that is named."""
import copy
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from mmseg_cicld.engine.collapse_hook import CollapsedError, CollapseHook
from mmseg_cicld.engine.run_checks import check_run_config
from mmseg_cicld.uda import ClassMixEMA
from mmseg_cicld.uda.class_shares import MOMENTUM, START_BATCHES, ClassShares
from mmseg_cicld.uda.objectives.target_self_training import ConfidentPixelRule

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_engine'))
from toy_training import assert_same_run, train

SELF_TRAINING = dict(type='TargetSelfTraining', threshold=0.06)
ALL = [SELF_TRAINING, dict(type='MaskedConsistency', block=16, threshold=0.06), dict(type='EntropyMinimisation'),
       dict(type='ClassBalance', weight=0.5)]


def build(segmentor, objectives=ALL, **kwargs) -> ClassMixEMA:
    torch.manual_seed(0)
    return MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor, objectives=copy.deepcopy(list(objectives)),
                             teacher=dict(momentum=0.9), **kwargs)).train()


def optimiser(model) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3))


def target(batch, **kwargs) -> dict:
    return dict(target=batch(**kwargs)['target'])


def test_trains_on_target_images_alone(segmentor, batch):
    model = build(segmentor())
    model.keep_step = True
    before = copy.deepcopy(model.student.state_dict())
    log = model.train_step(target(batch), optimiser(model))
    assert {'target.decode.loss_ce', 'target.confident_share', 'masked.decode.loss_ce', 'entropy.loss',
            'balance.loss'} <= set(log)
    assert any(not torch.equal(before[key], value) for key, value in model.student.state_dict().items())
    assert {'target_image', 'pseudo_label', 'augmented_target_image'} <= set(model.kept_step)
    assert 'source_image' not in model.kept_step


def test_objectives_that_need_the_source_say_so(segmentor, batch):
    model = build(segmentor(), [SELF_TRAINING, dict(type='SourceSupervision')])
    with pytest.raises(ValueError, match=r"objectives \['source'\] need labelled images under the key 'source'"):
        model.train_step(target(batch), optimiser(model))


def test_confident_pixels_alone_are_trained_on(segmentor, batch):
    plain = dict(SELF_TRAINING, augmentation=dict(jitter_probability=0, blur_probability=0))
    model = build(segmentor(dropout_ratio=0.0), [plain])
    model.student.backbone.drop_path_rate = 0
    model.student.eval()  # the direct formula below is without dropout and drop path
    data = target(batch)
    valid = torch.ones(1, 64, 64, dtype=torch.uint8)
    valid[:, :10] = 0
    for sample in data['target']['data_samples']:
        sample.valid_pseudo_mask = PixelData(data=valid)
    model.teacher.update(model.student, 0)
    context = model._context(data)
    images = context.target.images_BCHW
    probabilities = model.teacher.logits(images).softmax(dim=1)
    confidence, labels = probabilities.max(dim=1)
    threshold = float(confidence.median())
    model.objectives[0].rule = ConfidentPixelRule(threshold)
    losses = model.objectives[0](context)
    logits = F.interpolate(model.student.decode_head(model.student.extract_feat(images)), size=(64, 64), mode='bilinear',
                           align_corners=False)
    weights = (confidence >= threshold) * valid[0]
    assert 0 < weights.float().mean() < 0.8
    expected = (F.cross_entropy(logits, labels, reduction='none') * weights).mean()
    torch.testing.assert_close(losses['decode.loss_ce'], expected)
    torch.testing.assert_close(losses['confident_share'], (confidence >= threshold).float().mean())


def test_class_balance_is_the_distance_from_equal_shares(segmentor, batch):
    model = build(segmentor(dropout_ratio=0.0), [dict(type='ClassBalance', weight=0.5)])
    model.student.eval()
    context = model._context(target(batch))
    loss = model.objectives[0](context)['loss']
    logits = F.interpolate(model.student.decode_head(model.student.extract_feat(context.target.images_BCHW)),
                           size=(64, 64), mode='bilinear', align_corners=False)
    mean = logits.softmax(dim=1).mean(dim=(0, 2, 3))
    expected = 0.5 * (1 + (mean * mean.log()).sum() / math.log(19))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    weight = model.student.decode_head.conv_seg.weight
    assert weight.grad is not None and weight.grad.abs().sum() > 0


@pytest.mark.parametrize('config, words', [
    (dict(SELF_TRAINING, threshold=1.5), r'threshold of TargetSelfTraining is 1.5'),
    (dict(type='ClassBalance', weight=0), 'ClassBalance got weight=0'),
])
def test_values_out_of_range(segmentor, config, words):
    with pytest.raises(ValueError, match=words):
        build(segmentor(), [config])


def test_a_segmentor_without_training_is_refused(tmp_path):
    config = dict(model=dict(type='ClassMixEMA', objectives=[SELF_TRAINING]), work_dir=str(tmp_path),
                  train_dataloader=dict(dataset=dict(type='UnlabelledDataset')))
    with pytest.raises(ValueError, match='no source images, so it needs a segmentor that is trained already: set load_from'):
        check_run_config(config)
    check_run_config(dict(config, load_from='trained.pth'))


def shares_after(first: list[int], later: list[int], batches: int = 200) -> ClassShares:
    shares = ClassShares(4)
    for place in range(START_BATCHES + batches):
        shares.update(torch.tensor(first if place < START_BATCHES else later).reshape(1, 1, -1))
    return shares


def test_shares_then_and_now():
    shares = shares_after([0, 0, 1, 2], [0, 0, 0, 1])
    torch.testing.assert_close(shares.start_K, torch.tensor([0.5, 0.25, 0.25, 0.0]))
    left = 0.25 * (START_BATCHES / 50) * MOMENTUM**170  # a mean over 50 batches, then a moving average
    torch.testing.assert_close(shares.shares_K, torch.tensor([0.75 - left, 0.25, left, 0.0]), rtol=1e-3, atol=1e-5)
    assert shares.vanished() == ([0, 1, 2], [2])


def test_padded_pixels_do_not_count():
    shares = ClassShares(3)
    shares.update(torch.tensor([[[0, 1, 2, 2]]]), torch.tensor([[[True, True, False, False]]]))
    assert shares.shares_K.tolist() == [0.5, 0.5, 0.0]


def look(shares: ClassShares, iteration: int = 49) -> list[str]:
    said: list[str] = []
    runner = SimpleNamespace(
        iter=iteration, work_dir='work_dirs/x', logger=SimpleNamespace(warning=said.append),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('road', 'car', 'sign', 'sky')))),
        model=SimpleNamespace(objectives=[SimpleNamespace(counted_classes=dict(target=shares))]))
    CollapseHook(interval=50).after_train_iter(runner, iteration)
    return said


def test_a_class_that_vanishes_is_named():
    assert look(shares_after([0, 0, 1, 2], [0, 0, 0, 1])) == [
        'the pseudo-labels of target have all but lost sign: less than a tenth of the share at the start']
    assert look(shares_after([0, 0, 1, 2], [0, 0, 1, 2])) == []
    assert look(shares_after([0, 0, 1, 2], [0, 0, 0, 1]), iteration=48) == []


def test_a_collapse_ends_the_training():
    with pytest.raises(CollapsedError, match=r'at iteration 50 .* lost 2 of the 3 classes .*\(car, sign\).*ClassBalance'):
        look(shares_after([0, 0, 1, 2], [0, 0, 0, 0]))


def test_the_start_is_remembered_by_a_resumed_training(segmentor):
    model = build(segmentor(), [SELF_TRAINING])
    model.objectives[0].class_shares.update(torch.zeros(1, 2, 2, dtype=torch.int64))
    resumed = build(segmentor(), [SELF_TRAINING])
    resumed.load_state_dict(model.state_dict())
    assert resumed.objectives[0].class_shares.start_K[0] == 1 and int(resumed.objectives[0].class_shares.batches) == 1




OPTIONS = {'model.objectives': [dict(SELF_TRAINING, threshold=0.26), dict(type='ClassBalance', weight=0.1)],
           'default_hooks.collapse': dict(type='CollapseHook', interval=2)}


def test_a_resumed_training_is_the_same(tmp_path):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    train(straight, options=OPTIONS)
    train(stopped, options=OPTIONS | {'train_cfg.max_iters': 3})
    train(stopped, options=OPTIONS | {'resume': True})
    assert_same_run(straight, stopped)
