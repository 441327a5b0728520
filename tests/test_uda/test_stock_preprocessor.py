"""The preprocessor that stock configs have at top level, and images that would be padded without a word."""
import contextlib

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS

from mmseg_cicld.uda.domain_batch import check_padding
from mmseg_cicld.uda.stock_preprocessor import with_preprocessor

PREPROCESSOR = dict(type='SegDataPreProcessor', mean=[1., 2., 3.], std=[4., 5., 6.], size=(64, 64))


def test_a_segmentor_without_one_takes_that_of_the_top_level():
    assert with_preprocessor(dict(type='A'), PREPROCESSOR) == dict(type='A', data_preprocessor=PREPROCESSOR)
    assert with_preprocessor(dict(type='A'), None) == dict(type='A')


def test_equal_ones_and_parts_are_accepted():
    segmentor = dict(type='A', data_preprocessor=PREPROCESSOR)
    assert with_preprocessor(segmentor, dict(PREPROCESSOR, size=[64, 64])) == segmentor
    assert with_preprocessor(segmentor, dict(size=(64, 64))) == segmentor


@pytest.mark.parametrize('given, message', [
    (dict(PREPROCESSOR, std=[1.] * 3), r'data_preprocessor.std is \[1.0, 1.0, 1.0\] at top level, and \[4.0'),
    (dict(PREPROCESSOR, size_divisor=32), "data_preprocessor.size_divisor is 32 at top level, and 'not set'")])
def test_others_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        with_preprocessor(dict(data_preprocessor=PREPROCESSOR), given)


def test_the_wrapper_takes_it(segmentor):
    config = segmentor()
    given = config.pop('data_preprocessor')
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=config, data_preprocessor=given,
                              objectives=[dict(type='SourceSupervision')]))
    assert model.data_preprocessor is model.student.data_preprocessor
    assert model.student.data_preprocessor.mean.flatten().tolist() == pytest.approx(given['mean'])


def test_a_batch_that_would_be_padded_as_a_whole_is_refused(segmentor, batch):
    model = MODELS.build(dict(type='ClassMixEMA', segmentor=segmentor(), objectives=[dict(type='SourceSupervision')]))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r'batch are 32 x 32, but .*size=\(64, 64\) would pad .*crop size.*\(32, 32\)'):
        model.train().train_step(batch(size=32), wrapper)
    model.train_step(batch(), wrapper)
    model.train_step(batch(size=32), wrapper)  # by chance, in the middle of a training
    model = MODELS.build(dict(type='UDAWrapper', segmentor=segmentor(), objectives=[dict(type='SourceSupervision')]))
    wrapper = OptimWrapper(torch.optim.SGD(model.train().parameters(), lr=0.1))
    mixed = batch(size=64)
    mixed['source'] = batch(size=32)['source']  # some small images are data, not a mistake
    model.train_step(mixed, wrapper)


@pytest.mark.parametrize('height, width, refused', [(48, 96, True), (64, 96, False), (48, 128, False), (64, 128, False)])
def test_images_smaller_in_one_direction_alone_are_padded(height, width, refused):
    preprocessor = MODELS.build(dict(type='SegDataPreProcessor', size=(64, 128)))
    domain = dict(inputs=[torch.zeros(3, height, width, dtype=torch.uint8)] * 2)
    with pytest.raises(ValueError, match=rf'are {height} x {width}') if refused else contextlib.nullcontext():
        check_padding([domain, None], preprocessor)
