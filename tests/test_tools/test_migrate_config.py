"""Configs of DAFormer, HRDA and MIC become configs of this package, by the tool too."""
import json
import math
import re

import old_configs as old
import pytest
from migration_helpers import (CNN, HRDA, RARE, RARE_HR, RARE_MARGINS, ROOT, SGD, TOP_ROWS, canonical, masked,
                               masked_with_rows, migrated, run_tool)
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from test_configs import shrink, synthetic_batch

from mmseg_cicld.migration import OldConfigError, migrate, read_old_config

pytestmark = pytest.mark.usefixtures('mmseg_scope')

# Config of this package -> the old config of the same benchmark.
PUBLISHED = {
    'daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512': dict(data='gta_cityscapes_512', body=RARE + TOP_ROWS),
    'daformer/daformer_mit-b5_1xb2-40k_synthia2cityscapes-512x512': dict(
        data='synthia_cityscapes_512', body=RARE + TOP_ROWS),
    'daformer/daformer_mit-b5_1xb2-40k_cityscapes2darkzurich-512x512': dict(
        data='cityscapes_darkzurich_512', body=RARE + TOP_ROWS),
    'daformer/daformer_r101-dlv2_1xb2-40k_gta2cityscapes-512x512': dict(
        data='gta_cityscapes_512', body=old.R101 + RARE + TOP_ROWS, **CNN),
    'dacs/dacs_r101-dlv2_1xb2-40k_gta2cityscapes-512x512': dict(
        data='gta_cityscapes_512', uda='dacs', body=old.R101, **CNN),
    'hrda/hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024': dict(data='gta_cityscapes_1024', body=HRDA + RARE_MARGINS),
    'hrda/hrda_mit-b5_1xb2-40k_cityscapes2acdc-1024x1024': dict(data='cityscapes_acdc_1024', body=HRDA + RARE_HR),
    'hrda/hrda_r101-dlv2_1xb2-40k_gta2cityscapes-1024x1024': dict(
        data='gta_cityscapes_1024', body=old.HRDA_R101 + RARE_MARGINS, **CNN),
    'mic/mic-hrda_mit-b5_1xb2-40k_gta2cityscapes-1024x1024': dict(
        data='gta_cityscapes_1024', body=HRDA + RARE_MARGINS + masked('separatetrgaug', 64)),
    'mic/mic-hrda_mit-b5_1xb2-40k_synthia2cityscapes-1024x1024': dict(
        data='synthia_cityscapes_1024', body=HRDA + RARE_MARGINS + masked('separatetrgaug', 64)),
    'mic/mic-hrda_mit-b5_1xb2-40k_cityscapes2acdc-1024x1024': dict(
        data='cityscapes_acdc_1024', body=HRDA + RARE_HR + masked('separate', 64)),
    'mic/mic-daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512': dict(
        data='gta_cityscapes_512', body=RARE + masked_with_rows('separatetrgaug', 32)),
    'mic/mic-dacs_r101-dlv2_1xb2-40k_gta2cityscapes-512x512': dict(
        data='gta_cityscapes_512', uda='dacs', body=old.R101 + masked('separatetrgaug', 32), **CNN),
    'source_only/source-only_mit-b5_1xb2-40k_gta2cityscapes-512x512': dict(data='gta_cityscapes_512', uda=None),
}
# Old configs without a counterpart here -> the objectives and the teacher that they stand for.
SOURCE = dict(type='SourceSupervision')
MIX = dict(type='ClassMixSelfTraining', threshold=0.968)
MASKED = dict(type='MaskedConsistency', block=32, ratio=0.7, images='target', augment=True, weight=1, threshold=0.968)
ADVERSARY = dict(type='OutputSpaceAdversarial', weight=0.001)
ENTROPY = dict(type='EntropyMinimisation', weight=0.001)
AVERAGE = dict(momentum=0.999)
METHODS = {
    'advseg': (dict(uda='advseg', **SGD), None, [SOURCE, ADVERSARY]),
    'advseg-vanilla': (dict(uda='advseg', body="uda = dict(discriminator_type='Vanilla')\n", **SGD), None,
                       [SOURCE, dict(ADVERSARY, loss='cross_entropy')]),
    'advseg-mic': (dict(uda='advseg', body=masked('separatetrgaug', 32), **SGD), AVERAGE, [SOURCE, ADVERSARY, MASKED]),
    'minent': (dict(uda='minent', **SGD), None, [SOURCE, ENTROPY]),
    'minent-mic-source': (dict(uda='minent', body=masked('separatesrc', 32), **SGD), None,
                          [SOURCE, ENTROPY, dict(type='MaskedConsistency', block=32, ratio=0.7, images='source',
                                                 augment=False, weight=1)]),
    'source-only-switch': (dict(uda='dacs', body=masked('separatesrc', 32).replace('(', '(source_only=True, ', 1)),
                           None, [SOURCE, dict(type='MaskedConsistency', block=32, ratio=0.7, images='source',
                                               augment=False, weight=1)]),
    'mic-own-teacher': (dict(body=masked('separatetrgaug', 32).replace("mask_alpha='same'", 'mask_alpha=0').replace(
        "mask_pseudo_threshold='same', mask_lambda=1", 'mask_pseudo_threshold=None, mask_lambda=0.5')), AVERAGE,
        [None, MIX, dict(MASKED, threshold=None, weight=0.5, own_teacher=dict(momentum=0))]),
    'mic-other-threshold': (dict(body=masked('separateaug', 32).replace(
        "mask_alpha='same', mask_pseudo_threshold='same'", 'mask_alpha=0.999, mask_pseudo_threshold=0.9')), AVERAGE,
        [None, MIX, dict(MASKED, images='both', threshold=0.9)]),
    'augmentation': (dict(uda='dacs', body='uda = dict(blur=False, color_jitter_probability=0.7, '
                                           'color_jitter_strength=0.5)\n'), dict(momentum=0.99),
                     [SOURCE, dict(MIX, augmentation=dict(jitter_strength=0.5, jitter_probability=0.3,
                                                          blur_probability=0.0))]),
    'all-features': (dict(body='uda = dict(imnet_feature_dist_classes=None)\n'), AVERAGE,
                     [dict(SOURCE, feature_distance=dict(weight=0.005, classes=None)), MIX]),
}


@pytest.mark.parametrize('name', PUBLISHED, ids=lambda name: name.rpartition('/')[2])
def test_published_config_is_ours(name, tmp_path):
    ours = Config.fromfile(ROOT / f'configs/{name}.py')
    new = migrated(old.write_old(tmp_path, 'published', **PUBLISHED[name]))
    assert new.default_hooks.checkpoint.interval == 40000  # as it was; ours saves more often
    new.default_hooks.checkpoint = ours.default_hooks.checkpoint
    variables = {'norm_cfg', 'crop_size', 'metainfo', 'teacher', 'objectives', 'rare_class_sampling', 'resize',
                 'source_resize', 'target_resize', 'source_train', 'target_train', 'target_val', 'source_pipeline',
                 'target_pipeline', 'val_pipeline'}
    for key in (ours.keys() | new.keys()) - variables:
        assert canonical({key: new[key]}) == canonical({key: ours[key]}), key


@pytest.mark.parametrize('name', METHODS)
def test_method_becomes_objectives(name, tmp_path):
    arguments, teacher, objectives = METHODS[name]
    new = migrated(old.write_old(tmp_path, 'method', **dict(dict(data='gta_cityscapes_512'), **arguments)))
    assert new.model.teacher == teacher
    for expected, found in zip(objectives, new.model.objectives, strict=True):
        assert expected is None or canonical(found) == canonical(expected)


TRAINED = ['daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
           'dacs/dacs_r101-dlv2_1xb2-40k_gta2cityscapes-512x512',
           'mic/mic-hrda_mit-b5_1xb2-40k_cityscapes2acdc-1024x1024',
           'mic/mic-daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512',
           'source_only/source-only_mit-b5_1xb2-40k_gta2cityscapes-512x512']


@pytest.mark.parametrize('name', [*TRAINED, *METHODS], ids=lambda name: name.rpartition('/')[2])
def test_migrated_config_trains(name, tmp_path):
    arguments = PUBLISHED[name] if name in PUBLISHED else dict(dict(data='gta_cityscapes_512'), **METHODS[name][0])
    config = migrated(old.write_old(tmp_path, 'method', **arguments))
    shrink(config.model.segmentor)
    model = MODELS.build(config.model).train()
    log = model.train_step(synthetic_batch(2, 19), build_optim_wrapper(model, config.optim_wrapper))
    assert all(math.isfinite(value) for value in log.values())


def test_tool_writes_and_reports(tmp_path):
    path = old.write_old(tmp_path, 'daformer', 'gta_cityscapes_512', body=RARE + TOP_ROWS)
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 0, done.stderr
    config = Config.fromfile(tmp_path / 'new.py')
    assert config.model.type == 'ClassMixEMA' and config.randomness.seed == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    for line in ('uda.alpha -> model.teacher.momentum', 'data.samples_per_gpu -> train_dataloader.batch_size',
                 'optimizer.paramwise_cfg.custom_keys.norm.decay_mult -> optim_wrapper.paramwise_cfg.norm_decay_mult',
                 'name_dataset: information for people', 'not mapped (0)',
                 'data.train.target.ann_dir: labels of the target are never used in training'):
        assert line in lines


def test_every_value_is_in_the_report(tmp_path):
    path = old.write_old(tmp_path, 'mic', **PUBLISHED['mic/mic-hrda_mit-b5_1xb2-40k_cityscapes2acdc-1024x1024'])
    config = read_old_config(path)
    reported = [entry.path for entry in migrate(config).ledger.entries.values()]
    assert len(reported) == len(set(reported))
    for place in leaf_paths(config.values):
        assert any(place == path or re.match(rf'{re.escape(path)}[.\[]', place) for path in reported), place


def leaf_paths(value: object, path: str = '') -> list[str]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaf_paths(inner, f'{path}.{key}'.lstrip('.'))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return [leaf for index, inner in enumerate(value) for leaf in leaf_paths(inner, f'{path}[{index}]')]
    return [path]


def test_legacy_json_config(tmp_path):
    path = old.write_legacy_json(tmp_path)
    assert isinstance(json.loads(path.read_text())['data']['train']['source']['pipeline'][2]['img_scale'], list)
    new = migrated(path)
    ours = Config.fromfile(ROOT / 'configs/daformer/daformer_mit-b5_1xb2-40k_gta2cityscapes-512x512.py')
    for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'param_scheduler'):
        assert canonical({key: new[key]}) == canonical({key: ours[key]}), key
    dropped = {entry.path: entry.note for entry in migrate(read_old_config(path)).ledger.of_kind('dropped')}
    assert 'labels of the target' in dropped['data.train.target.pipeline[3].cat_max_ratio']
    assert dropped['uda.model'] == 'the old program copied it from model'
    assert {'model.backbone.ema_drop_path_rate', 'model.decode_head.decoder_params.fusion_cfg.fusion'} <= set(dropped)


def test_legacy_names_of_hrda(tmp_path):
    body = HRDA.replace('HRDAEncoderDecoder', 'MultiResEncoderDecoder').replace('HRDAHead', 'MultiResAttentionWrapper')
    body = body.replace("'DAFormerHead'", "'UniHead'")
    new = migrated(old.write_old(tmp_path, 'old', 'gta_cityscapes_1024', body=body))
    assert new.model.segmentor.type == 'HRDAEncoderDecoder'
    assert new.model.segmentor.decode_head.type == 'HRDAHead'
    assert new.model.segmentor.decode_head.single_scale_head == 'DAFormerHead'


@pytest.mark.parametrize(('text', 'message'), [
    ('raise RuntimeError("broken")', 'cannot read the config (RuntimeError: broken)'),
    ('_base_ = ["missing.py"]', 'cannot read the config'),
    ('from mmcv import Config', 'cannot read the config (ImportError'),
    ('train_dataloader = dict()\nmodel = dict()', 'is no config of the mmseg 0.x family'),
])
def test_files_that_are_no_old_configs_are_named(text, message, tmp_path):
    (tmp_path / 'old.py').write_text(text)
    with pytest.raises(OldConfigError, match=f'old.py: .*{re.escape(message)}'):
        read_old_config(tmp_path / 'old.py')


def test_missing_file_is_one_line(tmp_path):
    done = run_tool(tmp_path / 'old.py', '-o', tmp_path / 'new.py')
    assert done.returncode == 1 and 'cannot read the config (FileNotFoundError' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(('out', 'message'), [
    ('missing/new.py', 'its folder .*missing does not exist: make it'), ('.', 'takes a new Python file'),
    ('methods/old.py', 'not the old config'), ('new.json', 'takes a new Python file'),
])
def test_a_place_that_cannot_be_written_is_one_line(out, message, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    text = path.read_text()
    done = run_tool(path, '-o', tmp_path / out)
    assert done.returncode == 1 and re.search(message, done.stderr) and path.read_text() == text
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout


@pytest.mark.parametrize('body', ['model = dict(decode_head=dict(in_index=[0, 1]))', 'uda = dict(pseudo_threshold=2)'])
def test_model_that_cannot_be_built_is_named(body, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body)
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 1 and 'cannot be built' in done.stderr and not (tmp_path / 'new.py').exists()
