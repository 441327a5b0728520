"""channels_last with crops that the data preprocessor would pad is refused before training."""
import pytest
from mmengine.config import Config
from toy_training import SIZE, toy_config

from mmseg_cicld.engine import AdaptationRunner
from mmseg_cicld.engine.acceleration import refuse_smaller_crops


def _config(crop_size, preprocessor_size: tuple[int, int] | None) -> Config:
    preprocessor = dict(type='SegDataPreProcessor', size=preprocessor_size)
    pipeline = [dict(type='LoadImageStrictly'), dict(type='RandomCrop', crop_size=crop_size)]
    return Config(dict(
        model=dict(type='ClassMixEMA', segmentor=dict(type='EncoderDecoder', data_preprocessor=preprocessor)),
        train_dataloader=dict(dataset=dict(source=dict(dataset=dict(pipeline=pipeline)), target=dict(pipeline=[])))))


@pytest.mark.parametrize('crop_size', [(32, 64), (64, 32), 32])
def test_a_side_smaller_than_the_preprocessors_is_refused_by_its_key(crop_size):
    with pytest.raises(ValueError, match=r'channels_last=True .* pads to 64 x 64.*data_preprocessor\.size=\(') as error:
        refuse_smaller_crops(_config(crop_size, (64, 64)))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('crop_size, preprocessor_size', [((64, 64), (64, 64)), (64, (32, 64)), ((32, 32), None)])
def test_crops_that_are_not_padded_pass(crop_size, preprocessor_size):
    assert refuse_smaller_crops(_config(crop_size, preprocessor_size)) is None


@pytest.mark.parametrize('channels_last', [True, False])
def test_a_training_is_refused_with_the_switch_alone(tmp_path, channels_last):
    crop = dict(type='RandomCrop', crop_size=(SIZE // 2, SIZE))
    runner = AdaptationRunner.from_cfg(toy_config(str(tmp_path), options={'channels_last': channels_last}))
    runner.cfg.train_dataloader.dataset.pipeline = [crop]
    if channels_last:
        with pytest.raises(ValueError, match='channels_last=True with crops'):
            runner.build_train_loop(runner.cfg.train_cfg)
    else:
        runner.cfg.train_dataloader.dataset.pop('pipeline')
        assert runner.build_train_loop(runner.cfg.train_cfg) is not None
