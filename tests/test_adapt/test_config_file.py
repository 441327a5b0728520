"""Configs of all methods are plain: they are read by mmengine, build, and hold what was chosen."""
import pytest
from adapt_case import describe
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from test_choices import facts

from mmseg_cicld.adapt.choices import ImageSizes, choose
from mmseg_cicld.adapt.config_file import write_config
from mmseg_cicld.adapt.methods import METHODS, SOURCE_FREE, SOURCE_ONLY, signals
from mmseg_cicld.adapt.python_text import Name, python_text
from mmseg_cicld.config_keys import check_training_keys
from mmseg_cicld.datasets import check_num_classes

SETTINGS = choose(facts(labelled=1001), (40, 60))
LARGE = choose(facts(ImageSizes(9, 1914, 1052, 10**7), ImageSizes(9, 2048, 1024, 10**7)), (40, 60))


def written(root, method, stage=None, settings=SETTINGS, **changes) -> Config:
    path = root / 'config.py'
    write_config(path, method, stage or method, describe(root, **changes), settings, 3, root / 'stats.json',
                 root / 'iter_40.pth')
    return Config.fromfile(path)


@pytest.mark.parametrize('method', [method for method in METHODS if method != SOURCE_FREE])
def test_every_method_builds_for_the_classes_of_the_data(root, method):
    config = written(root, method)
    check_training_keys(config)
    check_num_classes(config)
    config.model.segmentor.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model)
    assert model.out_channels == 3
    assert config.randomness.seed == 3 and config.train_cfg.max_iters == (40 if method == SOURCE_ONLY else 60)


def test_both_stages_have_the_same_network(root):
    one, other = written(root, 'cicld', SOURCE_ONLY), written(root, 'cicld')
    assert one.model.segmentor == other.model.segmentor
    assert one.train_dataloader.dataset.target is None and other.train_dataloader.dataset.target is not None


def test_what_was_chosen_stands_in_the_config(root):
    config = written(root, 'mic', settings=LARGE)
    assert config.crop_size == (256, 256) == config.model.segmentor.data_preprocessor['size']
    for name in ('source_pipeline', 'target_pipeline', 'val_pipeline', 'test_pipeline'):
        assert [step.scale for step in config[name] if step.type == 'Resize'] == [(1024, 256)], name
    mix, masked = config.model.objectives[1:]
    assert mix == dict(type='ClassMixSelfTraining', threshold=LARGE.threshold)
    assert masked.block == 16 and 'ignore_top' not in masked
    assert config.model.teacher.momentum == LARGE.momentum and config.model.evaluate == 'teacher'
    assert config.val_dataloader.dataset.get('indices') is None
    assert written(root, 'dacs').val_dataloader.dataset.indices == [0]  # one of two, as of 1001


def test_changed_crop_size_reaches_everything_in_the_file(root):
    written(root, 'dacs')
    path = root / 'config.py'
    path.write_text(path.read_text().replace('crop_size = (128, 256)', 'crop_size = (64, 96)'))
    assert '(128, 256)' not in Config.fromfile(path).pretty_text


def test_without_target_labels_nothing_is_validated(root):
    config = written(root, 'dacs', validation=None)
    assert not [key for key in config if key.startswith(('val_d', 'val_c', 'val_e', 'test_d', 'test_c', 'test_e'))]
    assert 'save_best' not in config.default_hooks.checkpoint


def test_feature_distance_is_for_the_things_of_cityscapes():
    def distance(classes: tuple[str, ...]) -> dict | None:
        return signals('daformer', SETTINGS, classes)[1][0].get('feature_distance')

    assert distance(('road', 'Car', 'traffic_sign')) == dict(weight=0.005, classes=[1, 2], min_ratio=0.75)
    assert distance(('meadow', 'corn')) is None


def test_text_is_python_that_gives_the_value():
    value = dict(a=[dict(type='X', scale=(1, 2), deep=dict(words=['word' * 9] * 9)), None, True], b={'c.d': (1,)}, e=())
    text = python_text(value)
    assert eval(text) == value and max(map(len, text.splitlines())) <= 120
    assert python_text(dict(size=Name('crop_size'))) == 'dict(size=crop_size)'
