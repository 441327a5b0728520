"""What a step tells of the target is what student and teacher predict there."""
import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.uda.domain_batch import domain_batch


def _wrapper(segmentor, objectives: list[dict], teacher: dict | None = None):
    torch.manual_seed(1)  # with some weights student and teacher agree nowhere
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor('auxiliary'), teacher=teacher,
                              objectives=objectives))
    model.init_weights()
    return model.train(), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))


def _step(model, optimiser, data: dict) -> tuple[dict, dict, torch.Tensor, torch.Tensor]:
    model.keep_step = model.keep_statistics = True
    model.train_step(copy.deepcopy(data), optimiser)
    images_BCHW = domain_batch(copy.deepcopy(data['target']), model.data_preprocessor).images_BCHW
    model.student.eval()
    with torch.no_grad():
        probabilities_BCHW = model.student.encode_decode(images_BCHW, [dict(img_shape=(64, 64))] * 2).softmax(1)
    confidence_BHW, labels_BHW = probabilities_BCHW.max(1)
    model.train()
    return model.kept_statistics, model.kept_step, labels_BHW, confidence_BHW


def test_agreement_confidence_and_shares_by_the_teacher(segmentor, batch):
    model, optimiser = _wrapper(segmentor, [dict(type='SourceSupervision'),
                                            dict(type='ClassMixSelfTraining', threshold=0.0565)], dict(momentum=0.9))
    for seed in range(2):
        found, kept, student_BHW, _ = _step(model, optimiser, batch(seed))
    assert not model.keep_statistics
    pseudo_BHW = kept['pseudo_label']
    assert 0 < found['agreement'] < 1
    assert found['agreement'] == (pseudo_BHW == student_BHW).double().mean()
    assert found['confidence'] == pytest.approx(float(kept['pseudo_confidence'].double().mean()))
    assert found['confident_share'] == pytest.approx(float((kept['pseudo_confidence'] >= 0.0565).double().mean()))
    assert 0 < found['confident_share'] < 1
    assert found['class_shares'].tolist() == [float((pseudo_BHW == number).double().mean()) for number in range(19)]


def test_padding_does_not_count(segmentor, batch):
    model, optimiser = _wrapper(segmentor, [dict(type='SourceSupervision'),
                                            dict(type='ClassMixSelfTraining', threshold=None)], dict(momentum=0.9))
    data = batch()
    data['target']['inputs'][0] = data['target']['inputs'][0][:, :32]
    data['target']['data_samples'][0].set_metainfo(dict(img_shape=(32, 64), ori_shape=(32, 64)))
    found, kept, student_BHW, _ = _step(model, optimiser, data)
    real_BHW = torch.ones_like(student_BHW, dtype=torch.bool)
    real_BHW[0, 32:] = False
    equal_BHW = kept['pseudo_label'] == student_BHW
    assert found['agreement'] == equal_BHW[real_BHW].double().mean() != equal_BHW.double().mean()
    assert 'confident_share' not in found, 'without a threshold all pseudo-labels are taken'


def test_without_a_teacher_the_student_tells(segmentor, batch):
    model, optimiser = _wrapper(segmentor, [dict(type='SourceSupervision'), dict(type='EntropyMinimisation')])
    found, _, student_BHW, confidence_BHW = _step(model, optimiser, batch())
    assert set(found) == {'class_shares', 'confidence'}
    assert found['confidence'] == pytest.approx(float(confidence_BHW.double().mean()), rel=1e-5)
    assert found['class_shares'][3] == (student_BHW == 3).double().mean()


def test_modes_and_batch_norms_are_left_alone(segmentor, batch):
    states = []
    for ask in (False, True):
        torch.manual_seed(0)
        model, optimiser = _wrapper(segmentor, [dict(type='SourceSupervision'), dict(type='ClassMixSelfTraining')],
                                    dict(momentum=0.9))
        modes = [module.training for module in model.modules()]
        model.keep_statistics = ask
        model.train_step(batch(), optimiser)
        assert [module.training for module in model.modules()] == modes
        assert (model.kept_statistics is not None) == ask
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_without_a_target_there_is_nothing_to_tell(segmentor, batch):
    model, optimiser = _wrapper(segmentor, [dict(type='SourceSupervision')])
    model.keep_statistics = True
    model.train_step(dict(source=batch()['source']), optimiser)
    assert model.kept_statistics == {}
