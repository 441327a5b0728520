"""The two-scale segmentor in the wrapper: where its crop boxes come from, and who sees which."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

SOURCE = dict(type='SourceSupervision', feature_distance=dict(weight=0.005, min_ratio=0.25))
MIX = dict(type='ClassMixSelfTraining', threshold=0.06)
MASKED = dict(type='MaskedConsistency', block=16, threshold=0.06)


def build(config, objectives, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(type='ClassMixEMA', segmentor=copy.deepcopy(config),
                                   objectives=copy.deepcopy(list(objectives)),
                                   **{'teacher': dict(momentum=0.9), **kwargs})).train()


def trained(model) -> list:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def step(model, data):
    """One step; returns the log and the crop boxes of the student's forwards, in order."""
    boxes = []
    views = model.student.views

    def record(images, draws):
        seen = views(images, draws)
        boxes.append(tuple(view.box for view in seen if view.box is not None))
        return seen

    model.student.views = record
    log = model.train_step(data, OptimWrapper(torch.optim.SGD(trained(model), lr=1e-2)))
    del model.student.views
    return log, boxes


def test_every_forward_has_a_box_of_its_own(hrda, batch):
    model = build(hrda, [SOURCE, MIX, MASKED])
    log, boxes = step(model, batch())
    assert {'source.decode.hr.loss_ce', 'mix.decode.hr.loss_ce', 'masked.decode.hr.loss_ce',
            'source.loss_feature_distance'} <= set(log)
    assert len(boxes) == 3 and all(len(windows) == 1 for windows in boxes)
    _, later = step(model, batch())
    assert len(set(boxes + later)) > 3


def test_a_further_objective_does_not_move_the_boxes_of_others(hrda, batch):
    _, alone = step(build(hrda, [SOURCE, MIX]), batch())
    _, joined = step(build(hrda, [SOURCE, MASKED, MIX]), batch())
    assert joined[0] == alone[0] and joined[2] == alone[1]


def test_feature_distance_looks_at_the_context(hrda, batch):
    model = build(hrda, [SOURCE, MIX])
    with torch.no_grad():  # the frozen encoder equals the student in all but dropout of paths
        for module in model.student.modules():
            if type(module).__name__ == 'DropPath':
                module.drop_prob = 0.0
    log, _ = step(model, batch())
    assert float(log['source.loss_feature_distance']) == pytest.approx(0, abs=1e-6)


def test_teacher_sees_overlapping_windows(hrda, batch):
    model = build(hrda, [SOURCE, MIX])
    seen = []
    extract = model.teacher.network.extract_scales
    model.teacher.network.extract_scales = lambda inputs, windows: seen.append(windows) or extract(inputs, windows)
    step(model, batch())
    assert [len(windows) for windows in seen] == [9]


@pytest.mark.parametrize('objective', [dict(type='OutputSpaceAdversarial'), dict(type='EntropyMinimisation')])
def test_baselines_train_on_crops_too(hrda, batch, objective):
    source = dict(type='SourceSupervision')
    model = build(hrda, [source, objective], teacher=None)
    _, boxes = step(model, batch())
    assert len(boxes) == 2 and all(len(windows) == 1 for windows in boxes)


@pytest.mark.parametrize('images', [1, 3])
def test_other_batch_sizes(hrda, batch, images):
    hrda.update(hr_crop_size=(64, 64))  # batch norm needs more than one value
    log, _ = step(build(hrda, [SOURCE, MIX, dict(MASKED, images='both')]), batch(images=images, size=128))
    assert float(log['masked.decode.loss_ce']) > 0


def test_crops_that_are_too_large_are_named(hrda, batch):
    hrda.update(hr_crop_size=(128, 128))
    with pytest.raises(ValueError, match='smaller than hr_crop_size'):
        step(build(hrda, [SOURCE, MIX]), batch())
