"""Configs of DAFormer, HRDA and MIC become configs of this package; nothing of the old ones is lost unnamed."""
import copy
import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import old_configs as old
import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS
from test_configs import shrink, synthetic_batch

from mmseg_cicld.migration import OldConfigError, migrate, read_old_config, written_report

ROOT = Path(__file__).parents[2]
REGISTRIES = (MODELS, DATASETS, TRANSFORMS, METRICS, LOOPS, HOOKS, DATA_SAMPLERS, OPTIM_WRAPPERS, PARAM_SCHEDULERS)
CNN = dict(model='deeplabv2red', rates=old.HEAD_RATE)
HRDA = old.HRDA.format(head='DAFormerHead')
TOP_ROWS = old.TOP_ROWS.format('')
RARE, RARE_HR, RARE_MARGINS = old.RARE.format(0.5, ''), old.RARE.format(2.0, ''), old.RARE.format(2.0, old.MARGINS)


def masked(mode: str, block: int) -> str:
    return f'uda = dict({old.MASK.format(mode, block)})\n'


def masked_with_rows(mode: str, block: int) -> str:
    return old.TOP_ROWS.format(f', {old.MASK.format(mode, block)}')


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
SGD = dict(model='deeplabv2red', schedule='sgd', rates='', lr=0.0025)
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


def run_tool(*args, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/misc/migrate_config.py'), *map(str, args)]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd)


def migrated(path: Path, drop: tuple[str, ...] = ()) -> Config:
    """Returns the new config as its written file gives it."""
    migration = migrate(read_old_config(path), drop)
    assert migration.complete, written_report(migration.ledger)
    new = path.parent / f'{path.stem}_new.py'
    new.write_text(migration.text('new'))
    config = Config.fromfile(new)
    assert canonical(config) == canonical(migration.config())
    return config


def unmapped(path: Path, drop: tuple[str, ...] = ()) -> dict[str, str]:
    return {entry.path: entry.note for entry in migrate(read_old_config(path), drop).ledger.of_kind('not mapped')}


def canonical(value: object) -> object:
    """Tuples for lists, and every part with the defaults of its class."""
    if isinstance(value, (Config, dict)):
        value = {key: canonical(inner) for key, inner in value.items()}
        name = value.get('type')
        kind = next((found for registry in REGISTRIES if name and (found := registry.get(name))), None)
        parameters = inspect.signature(kind).parameters.values() if kind else ()
        defaults = {p.name: canonical(p.default) for p in parameters if p.default is not p.empty}
        return defaults | value
    return tuple(map(canonical, value)) if isinstance(value, (list, tuple)) else value


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


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
    for place in leaf_paths(config):
        assert any(place == path or re.match(rf'{re.escape(path)}[.\[]', place) for path in reported), place


KINDS = {
    'mic-hrda': dict(data='cityscapes_acdc_1024', body=HRDA + RARE_HR + masked('separateaug', 64)),
    'advseg': dict(data='gta_cityscapes_512', uda='advseg', body=masked('separateaug', 32), **SGD),
    'source-only': dict(data='gta_cityscapes_512', uda=None),
}


@pytest.mark.parametrize('name', KINDS)
def test_a_key_of_a_fork_is_named_wherever_it_stands(name, tmp_path):
    config = without_helpers(read_old_config(old.write_old(tmp_path, 'old', **KINDS[name])))
    assert migrate(config).complete
    for place in places(config, inner=True):
        changed = copy.deepcopy(config)
        at(changed, place)['my_fork'] = 1
        found = {entry.place for entry in migrate(changed).ledger.of_kind('not mapped')}
        assert any((*place, 'my_fork')[:len(named)] == named for named in found), place


@pytest.mark.parametrize('name', KINDS)
def test_values_of_the_wrong_kind_are_reported_not_raised(name, tmp_path):
    config = without_helpers(read_old_config(old.write_old(tmp_path, 'old', **KINDS[name])))
    for place in places(config, inner=False):
        for wrong in ('text', None, {}, [1], 3, dict(a=1)):
            changed = copy.deepcopy(config)
            at(changed, place[:-1])[place[-1]] = wrong
            assert migrate(changed).text('new')


def without_helpers(config: dict) -> dict:
    """Lists for tuples, which tests can change, and no helper variables, whose values nobody reads."""
    helpers = ('norm_cfg', 'img_norm_cfg', 'test_pipeline')
    return json.loads(json.dumps({key: value for key, value in config.items() if key not in helpers
                                  and not key.endswith('train_pipeline')}))


def places(value: object, inner: bool, place: tuple = ()) -> list[tuple]:
    """Where dicts stand (``inner``), or all values."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    own = isinstance(value, dict) if inner else bool(place)
    return [place] * own + [found for key, entry in entries for found in places(entry, inner, (*place, key))]


def at(value: object, place: tuple) -> object:
    for key in place:
        value = value[key]
    return value


def leaf_paths(value: object, path: str = '') -> list[str]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaf_paths(inner, f'{path}.{key}'.lstrip('.'))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return [leaf for index, inner in enumerate(value) for leaf in leaf_paths(inner, f'{path}[{index}]')]
    return [path]


FORK = '''
my_switch = True
my_values = dict(a=1)
uda = dict(my_uda_switch=3)
model = dict(my_model_switch=0, backbone=dict(my_depth=2), decode_head=dict(
    my_head_switch=None, loss_decode=dict(my_weight=0.5), norm_cfg=dict(my_norm=1),
    decoder_params=dict(my_params=1, embed_cfg=dict(my_embed=1), fusion_cfg=dict(my_fusion=1))),
    test_cfg=dict(my_test=1))
data = dict(
    my_data=1, val=dict(my_val=1), train=dict(
        my_train=1, source=dict(my_source=1), target=dict(my_target=1),
        rare_class_sampling=dict(min_pixels=3000, class_temp=0.01, min_crop_ratio=0.5, my_rcs=1)))
optimizer = dict(my_optimizer=1, paramwise_cfg=dict(
    my_rule=1, custom_keys=dict(attn=dict(lr_mult=2.), head=dict(my_mult=1))))
lr_config = dict(my_schedule=1)
runner = dict(type='IterBasedRunner', max_iters=40000, my_runner=1)
evaluation = dict(interval=4000, my_evaluation=1)
checkpoint_config = dict(my_checkpoint=1)
log_config = dict(my_log=1)
dist_params = dict(my_dist=1)
'''
FORK_PATHS = '''my_switch my_values uda.my_uda_switch model.my_model_switch model.backbone.my_depth
model.decode_head.my_head_switch model.decode_head.loss_decode.my_weight model.decode_head.norm_cfg.my_norm
model.decode_head.decoder_params.my_params model.decode_head.decoder_params.embed_cfg.my_embed
model.decode_head.decoder_params.embed_neck_cfg.my_embed model.decode_head.decoder_params.fusion_cfg.my_fusion
model.test_cfg.my_test data.my_data data.train.my_train data.train.source.my_source data.train.target.my_target
data.train.rare_class_sampling.my_rcs data.val.my_val optimizer.my_optimizer optimizer.paramwise_cfg.my_rule
optimizer.paramwise_cfg.custom_keys.attn optimizer.paramwise_cfg.custom_keys.head.my_mult lr_config.my_schedule
runner.my_runner evaluation.my_evaluation checkpoint_config.my_checkpoint log_config.my_log
dist_params.my_dist'''.split()


def test_unknown_keys_of_forks_are_named_at_any_depth(tmp_path):
    path = old.write_old(tmp_path, 'fork', 'gta_cityscapes_512', body=FORK)
    # Below, embed_neck_cfg differs from embed_cfg.
    path.write_text(path.read_text().replace('embed_cfg=dict(my_embed=1)', 'embed_cfg=dict(my_embed=1), '
                                             'embed_neck_cfg=dict(my_embed=2)'))
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 1 and not (tmp_path / 'new.py').exists()
    assert 'was not written' in done.stderr
    section = done.stdout.partition('not mapped')[2]
    assert {line.strip().partition(':')[0] for line in section.splitlines()[1:]} == set(FORK_PATHS)


def test_unknown_keys_can_be_left_out_knowingly(tmp_path):
    body = "uda = dict(my_switch=3)\nmy_values = dict(a=1)\n"
    path = old.write_old(tmp_path, 'fork', 'gta_cityscapes_512', body=body)
    done = run_tool(path, '-o', tmp_path / 'new.py', '--drop', 'uda.my_switch', 'my_values')
    assert done.returncode == 0, done.stdout
    assert 'uda.my_switch: as you asked' in done.stdout
    assert unmapped(path, ('uda.my_swich', )).keys() == {'uda.my_swich', 'uda.my_switch', 'my_values'}
    assert not unmapped(path, ('uda.my_switch', 'my_values', 'data.train.source.pipeline[4]'))


@pytest.mark.parametrize(('body', 'path', 'reason'), [
    (HRDA.replace('feature_scale=0.5', "feature_scale='all'"), 'model.feature_scale', 'the context features, 0.5'),
    (HRDA.replace('feature_scale=0.5,', ''), 'model.feature_scale', 'missing'),
    (HRDA.replace('feature_scale=0.5', 'feature_scale=0.5, blur_hr_crop=True'), 'model.blur_hr_crop', 'no blurred'),
    (HRDA.replace('scales=[1, 0.5]', 'scales=[1]'), 'model.scales', 'list of 2 numbers'),
    (HRDA.replace('scales=[1, 0.5]', 'scales=[2, 0.5]'), 'model.scales', 'two scales of which the larger is 1'),
    (HRDA.replace("'DAFormerHead'", "'MyHead'"), 'model.decode_head.single_scale_head', 'DAFormerHead and DLV2Head'),
    (TOP_ROWS + 'data = dict(train=dict(target=dict(crop_pseudo_margins=[30, 240, 30, 30])))',
     'uda.pseudo_weight_ignore_top', 'exclude each other'),
    ('uda = dict(imnet_feature_dist_mode="cosine")', 'uda.imnet_feature_dist_mode', 'unknown key'),
    ('uda = dict(imnet_feature_dist_lambda="auto")', 'uda.imnet_feature_dist_lambda', 'must be a number'),
    ('uda = dict(mix="cut")', 'uda.mix', "allowed is 'class'"),
    ('uda = dict(color_jitter_strength=dict(_delete_=True, hue=0.2))', 'uda.color_jitter_strength', 'a number'),
    ('uda = dict(mask_mode="random", mask_lambda=1)', 'uda.mask_mode', 'allowed are'),
    (masked('separatetrgaug', 32).replace("mask_alpha='same'", "mask_alpha='slow'"), 'uda.mask_alpha', 'and numbers'),
    (masked('separatetrgaug', 32).replace("'block'", "'grid'"), 'uda.mask_generator.type', "allowed is 'block'"),
    (masked('separatetrgaug', 32).replace('mask_lambda=1', 'mask_lambda=1, color_jitter_probability=0.5'),
     'uda.color_jitter_probability', 'published strength'),
    ('uda = dict(type="MyMethod")', 'uda.type', 'no method of the published code'),
    ('data = dict(train=dict(sync_crop_size=(512, 512)))', 'data.train.sync_crop_size', 'same place'),
    ('data = dict(train=dict(source=dict(type="RainDataset")))', 'data.train.source.type', 'docs/own_data.md'),
    ('data = dict(train=dict(source=dict(crop_pseudo_margins=[1, 1, 1, 1])))',
     'data.train.source.crop_pseudo_margins', 'target of training'),
    ('model = dict(backbone=dict(type="mit_b9"))', 'model.backbone.type', 'mit_b0 to mit_b5'),
    ('model = dict(pretrained="my/weights.pth")', 'model.pretrained', 'not the file mit_b5.pth'),
    ('model = dict(decode_head=dict(type="SegFormerHead"))', 'model.decode_head.type', 'not the SegformerHead'),
    ('model = dict(decode_head=dict(sampler=dict(type="OHEM")))', 'model.decode_head.sampler', 'unknown key'),
    ('lr_config = dict(min_lr=1e-5)', 'lr_config.min_lr', 'together with a warm-up'),
    ('lr_config = dict(policy="step")', 'lr_config.policy', "only 'poly'"),
    ('lr_config = dict(warmup="exp")', 'lr_config.warmup', "'linear' and 'constant'"),
    ('runner = dict(type="EpochBasedRunner")', 'runner.type', 'by iterations'),
    ('load_from = "old.pth"', 'load_from', 'tools/model_converters/published.py --to training'),
    ('resume_from = "old.pth"', 'resume_from', 'cannot be resumed'),
    ('workflow = [("train", 1), ("val", 1)]', 'workflow', 'only training'),
    ('log_config = dict(hooks=[dict(type="WandbLoggerHook")])', 'log_config.hooks[0].type', 'vis_backends'),
    ('evaluation = dict(metric="cityscapes")', 'evaluation.metric', 'IoUMetric has'),
    ('optimizer = dict(type="MyOptimizer")', 'optimizer', 'no optimiser of torch'),
])
def test_what_this_package_cannot_express_is_refused_with_the_reason(body, path, reason, tmp_path):
    found = unmapped(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body))
    paths = {place if not place.startswith(f'{path}.') else path: note for place, note in found.items()}
    assert path in paths and reason in paths[path], found


def test_adversary_of_hrda_is_refused_unless_its_scale_is_given_up(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_1024', uda='advseg', body=old.HRDA_R101, **SGD)
    assert set(unmapped(path)) == {'model.feature_scale'}
    assert migrated(path, drop=('model.feature_scale', )).model.objectives[1].type == 'OutputSpaceAdversarial'


@pytest.mark.parametrize(('step', 'expected'), [
    ("img_scale=(2048, 512), ratio_range=(0.5, 2.0)",
     dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True)),
    ("img_scale=[(2048, 512), (1024, 256)], multiscale_mode='range'",
     dict(type='RandomResize', scale=[(2048, 512), (1024, 256)], keep_ratio=True)),
    ("img_scale=[(2048, 512), (1024, 256)], multiscale_mode='value', keep_ratio=False",
     dict(type='RandomChoiceResize', scales=[(2048, 512), (1024, 256)], keep_ratio=False)),
    ("img_scale=(1280, 720), override_scale=True", dict(type='Resize', scale=(1280, 720), keep_ratio=True)),
])
def test_resize(step, expected, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    data.write_text(data.read_text().replace('img_scale=(1280, 720)', step))
    assert migrated(path).source_pipeline[2] == expected


@pytest.mark.parametrize(('step', 'expected', 'name'), [
    ('dict(type="Resize", keep_ratio=True, override_scale=True, img_scale=(640, 320))', (640, 320), None),
    ('dict(type="Resize", keep_ratio=True, override_scale=True)', (1024, 512), None),
    ('dict(type="Resize", keep_ratio=True, img_scale=(640, 320))', None,
     'data.val.pipeline[1].transforms[0].img_scale'),
    ('dict(type="Pad", size_divisor=32)', None, 'data.val.pipeline[1].transforms[0].type'),
])
def test_scale_of_tests(step, expected, name, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    data.write_text(data.read_text().replace("dict(type='Resize', keep_ratio=True)", step))
    if name is None:
        assert migrated(path).val_pipeline[1].scale == migrated(path).test_pipeline[1].scale == expected
    else:
        assert name in unmapped(path)


@pytest.mark.parametrize(('old_text', 'new_text', 'name'), [
    ('flip=False', 'flip=True', 'data.val.pipeline[1].flip'),
    ('flip=False', 'flip=False, img_ratios=[0.5, 1.0]', 'data.test.pipeline[1].img_ratios'),
    ("dict(type='RandomFlip', prob=0.5)", "dict(type='RandomRotate', prob=0.5, degree=5)",
     'data.train.source.pipeline[4].type'),
    ('to_rgb=True', 'to_rgb=True, eps=1', 'data.train.source.pipeline[5].eps'),
    ('pad_val=0, seg', 'pad_val=0, padding=1, seg', 'data.train.source.pipeline[6].padding'),
    ("dict(type='RandomFlip', prob=0.5),\n    dict(type='Normalize', **img_norm_cfg),",
     "dict(type='Normalize', **img_norm_cfg),\n    dict(type='PhotoMetricDistortion'),",
     'data.train.source.pipeline[5].type'),
    ("dict(type='DefaultFormatBundle'),", "dict(type='RandomFlip', prob=0.5),", 'data.train.target.pipeline[7].type'),
    ("keys=['img', 'gt_semantic_seg']", "keys=['img', 'depth']", 'data.train.source.pipeline[8].keys'),
])
def test_pipelines_of_forks_are_refused(old_text, new_text, name, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    assert old_text in data.read_text()
    data.write_text(data.read_text().replace(old_text, new_text))
    assert name in unmapped(path)


def test_pipelines_that_normalise_differently_are_refused(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    data = tmp_path / '_base_/datasets/uda_gta_cityscapes_512.py'
    before, _, after = data.read_text().rpartition("dict(type='Normalize', **img_norm_cfg)")
    data.write_text(f"{before}dict(type='Normalize', mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True){after}")
    assert 'differs from' in unmapped(path)['data.val.pipeline[1].transforms[2].mean']


def test_head_without_its_own_rate_keeps_weight_decay(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', rates='norm=dict(decay_mult=0.)')
    config = migrated(path)
    assert config.optim_wrapper.paramwise_cfg == dict(norm_decay_mult=0, custom_keys=dict(head=dict()))
    shrink(config.model.segmentor)
    model = MODELS.build(config.model)
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    decay = {id(parameter): group['weight_decay'] for group in groups for parameter in group['params']}
    decay = {name: decay[id(parameter)] for name, parameter in model.student.named_parameters()}
    assert decay['backbone.layers.0.2.weight'] == decay['backbone.layers.1.0.norm.bias'] == 0
    assert decay['decode_head.fuse_layer.bottleneck.bn.weight'] == 0.01
    assert decay['backbone.layers.0.1.0.ffn.layers.0.bias'] == 0.01


def test_schedule_without_warm_up(tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512')
    path.write_text(path.read_text().replace('poly10warm', 'poly10'))
    assert migrated(path).param_scheduler == [
        dict(type='PolyLR', power=1.0, eta_min=1e-4, by_epoch=False, begin=0, end=40001)]


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


@pytest.mark.parametrize('body', ['model = dict(decode_head=dict(in_index=[0, 1]))', 'uda = dict(pseudo_threshold=2)'])
def test_model_that_cannot_be_built_is_named(body, tmp_path):
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', body=body)
    done = run_tool(path, '-o', tmp_path / 'new.py')
    assert done.returncode == 1 and 'cannot be built' in done.stderr and not (tmp_path / 'new.py').exists()


STOCK_HEADS = {
    'dlv3plus': ("type='DepthwiseSeparableASPPHead', in_channels=2048, in_index=3, channels=512, "
                 "dilations=(1, 6, 12, 18), c1_in_channels=256, c1_channels=48", ''),
    'danet': ("type='DAHead', in_channels=2048, in_index=3, channels=512, pam_channels=64", ''),
    'isanet': ("type='ISAHead', in_channels=2048, in_index=3, channels=512, isa_channels=256, down_factor=(8, 8)", ''),
    'auxiliary': ("type='UPerHead', in_channels=[256, 512, 1024, 2048], in_index=[0, 1, 2, 3], channels=512, "
                  "pool_scales=(1, 2, 3, 6)",
                  "auxiliary_head=dict(type='FCNHead', in_channels=1024, in_index=2, channels=256, num_convs=1, "
                  "concat_input=False, dropout_ratio=0.1, num_classes=19, norm_cfg=None, align_corners=False, "
                  "loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)),"),
}


@pytest.mark.parametrize('name', STOCK_HEADS)
def test_heads_of_mmseg_are_copied(name, tmp_path):
    head, auxiliary = STOCK_HEADS[name]
    body = f'''model = dict({auxiliary} decode_head=dict(
        _delete_=True, {head}, dropout_ratio=0.1, num_classes=19, norm_cfg=None, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))'''
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body, **CNN)
    migration = migrate(read_old_config(path))
    assert migration.complete, written_report(migration.ledger)
    assert migration.problem() is None
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', body=body.replace(
        'dropout_ratio=0.1', 'dropout_ratio=0.1, my_ratio=1'), **CNN)
    assert 'has no such argument' in unmapped(path)['model.decode_head.my_ratio']


def test_neck_for_heads_of_stride_8(tmp_path):
    body = '''model = dict(
        pretrained='pretrained/mit_b3.pth', backbone=dict(_delete_=True, type='mit_b3'),
        neck=dict(type='SegFormerAdapter'), decode_head=dict(in_channels=512))'''
    config = migrated(old.write_old(tmp_path, 'old', 'gta_cityscapes_512', uda='dacs', model='deeplabv2red', body=body))
    segmentor = config.model.segmentor
    assert segmentor.neck == dict(type='SegFormerAdapter') and segmentor.decode_head.in_channels == 512
    assert segmentor.backbone.variant == 'b3' and 'mit_b3_20220624' in segmentor.backbone.init_cfg.checkpoint


@pytest.mark.parametrize(('published', 'change', 'key', 'expected'), [
    ('hr_slide_inference=True', 'hr_slide_overlapping=False', 'hr_slide_overlapping', False),
    ('hr_slide_inference=True', 'hr_slide_inference=False', 'hr_slide_inference', False),
    ('scales=[1, 0.5], hr_crop_size=(512, 512), feature_scale=0.5',
     'scales=[0.75, 1], hr_crop_size=(512, 512), feature_scale=0.75', 'scales', (0.75, 1)),
    ('scales=[1, 0.5], hr_crop_size=(512, 512), feature_scale=0.5',
     'scales=[1, 1], hr_crop_size=[256, 256], feature_scale=1', 'hr_crop_size', (256, 256)),
    ('attention_classwise=True', 'attention_classwise=False', 'decode_head.attention_classwise', False),
    ('attention_classwise=True', 'fixed_attention=0.5', 'decode_head.fixed_attention', 0.5),
    ('attention_classwise=True', 'lr_loss_weight=0.1', 'decode_head.lr_loss_weight', 0.1),
])
def test_ablations_of_hrda(published, change, key, expected, tmp_path):
    assert published in HRDA
    path = old.write_old(tmp_path, 'old', 'gta_cityscapes_1024', body=HRDA.replace(published, change))
    segmentor = migrated(path).model.segmentor
    for name in key.split('.'):
        segmentor = segmentor[name]
    assert segmentor == expected
