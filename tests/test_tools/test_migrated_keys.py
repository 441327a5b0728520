"""What is said of keys that were not migrated: not read, helper variables, and what --drop can do about them."""
import math

import old_configs as old
import pytest
from migration_helpers import migrated, run_tool, unmapped
from mmengine.config import Config

from mmseg_cicld.migration import droppable, migrate, read_old_config

pytestmark = pytest.mark.usefixtures('mmseg_scope')

REFUSED_TYPES = {
    'uda': 'uda = dict(type="MyMethod")',
    'model': 'model = dict(type="MySegmentor")',
    'model.backbone': 'model = dict(backbone=dict(type="MyBackbone"))',
    'model.decode_head': 'model = dict(decode_head=dict(type="MyHead"))',
    'model.decode_head.loss_decode': 'model = dict(decode_head=dict(loss_decode=dict(type="MyLoss", weight=3)))',
    'model.decode_head.decoder_params.fusion_cfg': 'model = dict(decode_head=dict(decoder_params=dict(fusion_cfg=dict('
                                                   'type="context"))))',
    'data.train.source': 'data = dict(train=dict(source=dict(_delete_=True, type="RepeatDataset", times=3, '
                         'dataset=dict(type="GTADataset"))))',
    'log_config.hooks[0]': 'log_config = dict(hooks=[dict(type="WandbLoggerHook", init_kwargs=dict(project="p"))])',
}


@pytest.mark.parametrize('part', REFUSED_TYPES)
def test_keys_below_a_refused_type_are_not_called_unknown(part, tmp_path):
    config = read_old_config(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=REFUSED_TYPES[part]))
    found = {entry.path: entry.note for entry in migrate(config).ledger.of_kind('not mapped')}
    assert f'{part}.type' in found
    below = {path: note for path, note in found.items() if path.startswith(f'{part}.') and path != f'{part}.type'}
    assert below and set(below.values()) == {f'not read: {part}.type is refused'}
    can, cannot = droppable(config)
    assert not set(below) & {*can, *cannot}  # they need no word of their own
    assert set(can) | set(cannot) == set(found) - set(below)


def test_only_what_can_be_dropped_is_offered(tmp_path):
    body = 'uda = dict(type="MyMethod")\nmy_switch = 1\n'
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body)
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 1
    assert '--drop my_switch. Change in the old config, for they cannot be dropped: uda.type' in done.stderr
    done = run_tool(path, '-o', tmp_path / 'new.py', '--drop', 'uda', 'my_switch')
    assert done.returncode == 0, done.stdout


def test_without_a_network_nothing_else_is_called_unknown(tmp_path):
    found = unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512'), drop=('model.backbone', ))
    assert found.pop('model.backbone') == 'must be a dict; nothing was migrated without it'
    assert set(found.values()) == {'not read: model.backbone is no dict'}


def test_dropped_steps_leave_the_others_their_places(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda=None)
    data = tmp_path / '_base_/datasets/source_gta_cityscapes_512.py'
    data.write_text(data.read_text().replace("dict(type='RandomFlip', prob=0.5)",
                                             "dict(type='RandomFlip', prob=0.5, my_flip=1)"))
    flip, colours = 'data.train.pipeline[4]', 'data.train.pipeline[5]'
    assert set(unmapped(path)) == {f'{flip}.my_flip'}
    assert set(unmapped(path, (colours, 'data.train.pipeline[3]'))) == {f'{flip}.my_flip'}
    assert [step.type for step in migrated(path, (flip, colours)).source_pipeline] == [
        'LoadImageStrictly', 'LoadLabelStrictly', 'Resize', 'RandomCrop', 'PackUDAInputs']
    assert 'no such value' in unmapped(path, ('data.train.pipeline[3].crop_size[0]', ))[
        'data.train.pipeline[3].crop_size[0]']


@pytest.mark.parametrize('body', ['freeze_levels = [0, 1, 2, 3]\n', 'name_weights = [0, 1, 2, 3]\n'])
def test_a_key_of_a_fork_with_the_value_of_another_is_named(body, tmp_path):
    found = unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body))
    assert found.keys() == {body.partition(' ')[0]}
    assert 'model.decode_head.in_index has the same value' in next(iter(found.values()))


def test_variables_that_the_config_uses_are_helpers(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=(
        'levels = [0, 1, 2, 3]\nlayer = dict(type="BN", requires_grad=True)\n'
        'model = dict(decode_head=dict(in_index=levels, norm_cfg=layer, channels=_base_.my_channels))\n'))
    with (tmp_path / '_base_/default_runtime.py').open('a') as base:
        base.write('my_channels = 128\n')
    assert migrated(path).model.segmentor.decode_head.channels == 128
    notes = {entry.path: entry.note for entry in migrate(read_old_config(path)).ledger.of_kind('dropped')}
    for name in ('levels', 'layer', 'my_channels'):
        assert notes[name] == 'a helper variable: the config itself puts its value where it is used'


def test_numbers_of_numpy_and_such_without_an_end_are_written(tmp_path):
    body = ('import numpy as np\noptimizer = dict(lr=np.float64(1e-4), weight_decay=float("nan"), eps=float("inf"))\n'
            'model = dict(decode_head=dict(in_index=np.arange(4)))\n')
    migration = migrate(read_old_config(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body)))
    (tmp_path / 'new.py').write_text(migration.text('new'))
    config = Config.fromfile(tmp_path / 'new.py')
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == 1e-4 and math.isnan(optimizer.weight_decay) and optimizer.eps == math.inf
    assert list(config.model.segmentor.decode_head.in_index) == [0, 1, 2, 3]


@pytest.mark.parametrize('value', ['max', 'range(4)', '[len, 1]', '{1, 2}'])
def test_what_a_config_cannot_hold_is_refused(value, tmp_path):
    body = f'optimizer = dict(lr={value})\nmodel = dict(decode_head=dict(in_index={value}))\n'
    found = unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body))
    assert found.keys() == {'optimizer.lr', 'model.decode_head.in_index'}
    assert all('a config cannot hold it' in note for note in found.values())


def test_clipping_is_read_beside_a_refused_optimiser(tmp_path):
    body = 'optimizer = dict(type="MyOptimizer")\noptimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=1))\n'
    assert unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda=None, body=body)).keys() == {'optimizer'}


def test_a_section_that_is_also_a_variable_is_read(tmp_path):
    body = "runner = dict(type='IterBasedRunner', max_iters=40000, my_runner=1)\nlength = runner['max_iters']\n"
    assert unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body)).keys() == {
        'runner.my_runner', 'length'}


def test_unknown_keys_can_be_left_out_knowingly(tmp_path):
    body = "uda = dict(my_switch=3)\nmy_values = dict(a=1)\n"
    path = old.write_old(tmp_path, 'fork', 'gta_cityscapes_512', body=body)
    done = run_tool(path, '-o', tmp_path / 'new.py', '--drop', 'uda.my_switch', 'my_values')
    assert done.returncode == 0, done.stdout
    assert 'uda.my_switch: as you asked' in done.stdout
    assert unmapped(path, ('uda.my_swich', )).keys() == {'uda.my_swich', 'uda.my_switch', 'my_values'}
    assert not unmapped(path, ('uda.my_switch', 'my_values', 'data.train.source.pipeline[4]'))
