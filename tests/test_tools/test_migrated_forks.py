"""What forks added to old configs, or this package cannot express, is named and nothing is lost unnamed."""
import copy
import json

import old_configs as old
import pytest
from migration_helpers import HRDA, RARE_HR, SGD, TOP_ROWS, masked, migrated, run_tool, unmapped

from mmseg_cicld.migration import OldConfig, migrate, read_old_config

pytestmark = pytest.mark.usefixtures('mmseg_scope')

KINDS = {
    'mic-hrda': dict(data='cityscapes_acdc_1024', body=HRDA + RARE_HR + masked('separateaug', 64)),
    'advseg': dict(data='gta_cityscapes_512', uda='advseg', body=masked('separateaug', 32), **SGD),
    'source-only': dict(data='gta_cityscapes_512', uda=None),
}


@pytest.mark.parametrize('name', KINDS)
def test_a_key_of_a_fork_is_named_wherever_it_stands(name, tmp_path):
    config = without_helpers(read_old_config(old.write_old(tmp_path, 'old', **KINDS[name])).values)
    assert migrate(OldConfig(config)).complete
    for place in places(config, inner=True):
        changed = copy.deepcopy(config)
        at(changed, place)['my_fork'] = 1
        found = {entry.place for entry in migrate(OldConfig(changed)).ledger.of_kind('not mapped')}
        assert any((*place, 'my_fork')[:len(named)] == named for named in found), place


@pytest.mark.parametrize('name', KINDS)
def test_values_of_the_wrong_kind_are_reported_not_raised(name, tmp_path):
    config = without_helpers(read_old_config(old.write_old(tmp_path, 'old', **KINDS[name])).values)
    for place in places(config, inner=False):
        for wrong in ('text', None, {}, [1], 3, dict(a=1)):
            changed = copy.deepcopy(config)
            at(changed, place[:-1])[place[-1]] = wrong
            assert migrate(OldConfig(changed)).text('new')
        changed = copy.deepcopy(config)
        del at(changed, place[:-1])[place[-1]]  # such as scales of HRDA
        assert migrate(OldConfig(changed)).text('new')


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


@pytest.mark.parametrize(('body', 'path', 'reason'), [
    (HRDA.replace('feature_scale=0.5', "feature_scale='all'"), 'model.feature_scale', 'the context features, 0.5'),
    (HRDA.replace('feature_scale=0.5,', ''), 'model.feature_scale', 'missing'),
    (HRDA.replace('feature_scale=0.5', 'feature_scale=0.5, blur_hr_crop=True'), 'model.blur_hr_crop', 'no blurred'),
    (HRDA.replace('scales=[1, 0.5], ', ''), 'model.scales', 'missing: the old program needs it'),
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
