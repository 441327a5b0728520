"""Stock configs of MMSegmentation become adaptations: five networks train a step, nothing of the stock data is left."""
import math
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from stock_configs import CONFIGS, SIDE, STOCK, adapted_step, make_data, shrunk

from mmseg_cicld.migration import OldConfigError
from mmseg_cicld.migration.stock_config import adapt_stock_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.split('/')[1])
def test_a_stock_config_trains_a_step_with_its_own_network_and_crop(path, data, mmseg_scope):
    stock = shrunk(path, data)
    config = Config(adapt_stock_config(stock, str(data / 'target'), 'mic_dacs'))
    assert config.model.segmentor.data_preprocessor.size == (SIDE, SIDE) and 'data_preprocessor' not in config
    assert config.train_dataloader.sampler == dict(type='KeyedInfiniteSampler')
    assert config.optim_wrapper == stock.optim_wrapper and config.param_scheduler == stock.param_scheduler
    assert config.model.segmentor.decode_head == stock.model.decode_head
    log, batch, dataset, model = adapted_step(config)
    assert (dataset.target.ignore_index, len(dataset.target)) == (255, 4)
    assert 'gt_sem_seg' not in batch['target']['data_samples'][0]
    assert all(math.isfinite(value) for value in log.values())
    assert {name.split('.')[0] for name in log if '.' in name} == {'source', 'mix', 'masked'}
    assert model.data_preprocessor(batch['source'], True)['inputs'].shape == (2, 3, SIDE, SIDE)
    assert dataset.source.dataset.reduce_zero_label == ('ade20k' in path)


@pytest.mark.parametrize('change, message', [
    ({'train_cfg.type': 'EpochBasedTrainLoop'}, "train_cfg.type is 'EpochBasedTrainLoop'"),
    ({'optim_wrapper.constructor': 'LearningRateDecayOptimizerConstructor'}, 'would find none in the student'),
    ({'train_dataloader.dataset.pipeline': []}, 'has no RandomCrop'),
    ({'model.segmentor': {}}, 'adapts already'),
    ({'optim_wrapper': None}, 'has no optim_wrapper'),
])
def test_what_has_no_counterpart_is_refused_by_key(change, message):
    config = Config.fromfile(STOCK / f'{CONFIGS[0]}.py')
    config.merge_from_dict(change)
    with pytest.raises(OldConfigError, match=message):
        adapt_stock_config(config, 'target')


def test_a_wrapped_dataset_and_an_unknown_method_are_refused():
    config = Config.fromfile(STOCK / f'{CONFIGS[0]}.py')
    with pytest.raises(OldConfigError, match="the method is 'magic', allowed are source_only, dacs"):
        adapt_stock_config(config, 'target', 'magic')
    config.train_dataloader.dataset = dict(type='RepeatDataset', dataset=config.train_dataloader.dataset, times=2)
    with pytest.raises(OldConfigError, match='is a RepeatDataset without a pipeline'):
        adapt_stock_config(config, 'target')


def test_the_tool_writes_a_config_that_needs_no_other_file(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'new/adapted.py'
    monkeypatch.setattr(sys, 'argv', ['adapt_config.py', str(STOCK / f'{CONFIGS[1]}.py'), '--target', 'data/mine',
                                      '-o', str(out)])
    runpy.run_path(str(ROOT / 'tools/misc/adapt_config.py'), run_name='__main__')
    written = Config.fromfile(out)
    expected = adapt_stock_config(Config.fromfile(STOCK / f'{CONFIGS[1]}.py'), 'data/mine')
    assert written._cfg_dict.to_dict() == expected and f'wrote {out}' in capsys.readouterr().out
    assert written.train_dataloader.dataset.target.data_prefix.img_path == 'data/mine'
