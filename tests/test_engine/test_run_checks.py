"""What is refused before anything of a run is built, with the key to change."""
import pytest
from toy_training import toy_config

from mmseg_cicld.engine import AdaptationRunner


@pytest.mark.parametrize('changes, named', [
    ({'model': None}, 'the config has no model: set model='),
    ({'train_dataloader.persistent_workers': True}, r'train_dataloader.persistent_workers=True .*num_workers is 0.*'
                                                    '--cfg-options train_dataloader.persistent_workers=False'),
    ({'val_dataloader.prefetch_factor': 2, 'val_dataloader.timeout': 5},
     'val_dataloader.prefetch_factor=2, val_dataloader.timeout=5 .*prefetch_factor=None val_dataloader.timeout=0'),
    ({'train_dataloader.dataset.type': 'ToyPair'}, "train_dataloader.dataset.type='ToyPair' .* mean 'ToyPairs'"),
    ({'val_dataloader.dataset': dict(_delete_=True, type='ConcatDataset', datasets=[dict(data_root='x')])},
     r'val_dataloader.dataset.datasets.0 has no type \(it has data_root\)'),
    ({'default_hooks.checkpoint.intervall': 3}, "intervall is no key of CheckpointHook; did you mean 'interval'"),
    ({'val_evaluator.iou_metric': ['mIoU']}, "iou_metric is no key of IoUMetric; did you mean 'iou_metrics'"),
])
def test_contradictions_are_refused_by_name(tmp_path, changes, named):
    with pytest.raises(ValueError, match=named):
        AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=changes))


def test_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match=r'work_dir .*/file/run cannot be written \(Not a directory\): give another'):
        AdaptationRunner.from_cfg(toy_config(str(tmp_path / 'file' / 'run')))


def test_settings_of_workers_are_allowed_with_workers(tmp_path):
    options = {f'train_dataloader.{key}': value for key, value in
               dict(num_workers=1, persistent_workers=True, prefetch_factor=2, timeout=60).items()}
    assert AdaptationRunner.from_cfg(toy_config(str(tmp_path), options=options)).work_dir == str(tmp_path)
