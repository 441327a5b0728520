"""DAFormer on image files through the shipped runtime config: exact resume, and the audit before training."""
import json
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from toy_training import CLASSES, assert_same_run, records, toy_config, train, train_in_child

RUNTIME = Path(__file__).parents[2] / 'configs' / '_base_' / 'default_runtime.py'
PACK = dict(type='PackUDAInputs')
AUGMENT = [dict(type='RandomCrop', crop_size=(32, 32)), dict(type='RandomFlip', prob=0.5),
           dict(type='PhotoMetricDistortion'), PACK]


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Three labelled source images, two target images, and the class statistics of the source."""
    root, rng, stats = tmp_path_factory.mktemp('data'), np.random.default_rng(0), []
    for folder, count in (('source', 3), ('labels', 3), ('target', 2)):
        (root / folder).mkdir()
        for i in range(count):
            shape = (48, 56) if folder == 'labels' else (48, 56, 3)
            image = rng.integers(0, 4 if folder == 'labels' else 256, shape, dtype=np.uint8)
            cv2.imwrite(str(root / folder / f'{i}.png'), image)
            if folder == 'labels':
                pixels = {str(k): int((image == k).sum()) for k in range(4)}
                stats.append(dict(pixels, file=str(root / folder / f'{i}.png')))
    (root / 'sample_class_stats.json').write_text(json.dumps(stats))
    return root


def _options(data: Path, more: dict) -> dict:
    folder = dict(type='FolderDataset', data_root=str(data), metainfo=dict(classes=CLASSES))
    labelled = dict(folder, data_prefix=dict(img_path='source', seg_map_path='labels'))
    read = [dict(type='LoadImageStrictly'), dict(type='LoadLabelStrictly')]
    conv = dict(type='conv', kernel_size=1, act_cfg=dict(type='ReLU'), norm_cfg=dict(type='BN'))
    model = dict(
        backbone=dict(_delete_=True, type='FusedMixVisionTransformer', embed_dims=8, num_layers=(1, 1, 1, 1),
                      num_heads=(1, 1, 1, 1), drop_path_rate=0.2),
        decode_head=dict(
            _delete_=True, type='DAFormerHead', in_channels=[8, 8, 8, 8], in_index=[0, 1, 2, 3], channels=8,
            dropout_ratio=0.1, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
            decoder_params=dict(
                embed_dims=8, embed_cfg=dict(type='mlp'),
                embed_neck_cfg=dict(type='mlp'), fusion_cfg=conv)))
    return {
        'model.segmentor': model,
        'model.objectives': [
            dict(type='SourceSupervision', feature_distance=dict(weight=0.005, classes=(1, 2), min_ratio=0.2)),
            dict(type='ClassMixSelfTraining', threshold=0.255)],
        'train_dataloader.dataset': dict(
            _delete_=True, type='UDADataset', source=dict(labelled, pipeline=[*read, *AUGMENT]),
            target=dict(folder, data_prefix=dict(img_path='target'), pipeline=[read[0], *AUGMENT]),
            rare_class_sampling=dict(min_pixels=100, class_temp=0.5)),
        'val_dataloader.dataset': dict(_delete_=True, **labelled, pipeline=[*read, dict(type='PackSegInputs')]),
        **more,
    }


def shipped_config(work_dir: str, options: dict, **kwargs) -> Config:
    """The toy config on top of the shipped runtime config, whose hooks and environment it keeps."""
    cfg = Config.fromfile(str(RUNTIME))
    own = toy_config(work_dir, **kwargs, options=options)
    cfg.merge_from_dict({key: value for key, value in own.items() if key not in ('default_hooks', 'env_cfg')})
    cfg.merge_from_dict({'default_hooks.checkpoint.interval': 3, 'log_level': 'WARNING'})
    return cfg


@pytest.fixture(scope='module')
def straight(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('straight')
    train(folder, shipped_config, options=_options(data, {}))
    return folder


@pytest.mark.parametrize('workers', [0, 2])
def test_killed_and_resumed_training_is_the_same(straight, data, tmp_path, workers):
    options = _options(data, {'custom_hooks.0.signal_at': 8})
    assert train_in_child(tmp_path, make_config=shipped_config, workers=workers, options=options) == -signal.SIGKILL
    assert (tmp_path / 'last_checkpoint').read_text() == f'{tmp_path}/iter_6.pth'
    train(tmp_path, shipped_config, workers=workers, options=_options(data, {'resume': True}))
    assert_same_run(straight, tmp_path)
    assert {line['source.loss_feature_distance'] for line in records(straight)} != {(0.).hex()}


def test_label_audit_stops_before_training(data, tmp_path):
    broken = tmp_path / 'data'
    shutil.copytree(data, broken)
    cv2.imwrite(str(broken / 'labels' / '1.png'), np.full((48, 56), 9, np.uint8))
    options = _options(broken, {'label_audit.max_files': 3})
    with pytest.raises(ValueError, match=r'labels/1.png has the ids \[9\]'):
        train(tmp_path / 'run', shipped_config, options=options)
    assert not (tmp_path / 'run' / 'record.jsonl.rank0').exists()
