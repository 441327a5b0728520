"""The look at a config's data before training, and the tool that does it alone."""
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from shell_commands import preloaded
from tiny_datasets import CLASSES, folder_config, random_image, write_folder, write_image

from mmseg_cicld.datasets import UDADataset, audit_dataset, audit_train_datasets

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'dataset_converters' / 'check_dataset.py'


@pytest.fixture
def config(tmp_path):
    source = write_folder(tmp_path / 'source', 6)
    target = write_folder(tmp_path / 'target', 5, labelled=False)
    val = write_folder(tmp_path / 'val', 2)
    return Config(dict(
        train_dataloader=dict(
            batch_size=2, sampler=dict(type='KeyedInfiniteSampler'),
            dataset=dict(type='UDADataset', source=folder_config(source), target=folder_config(target, False))),
        val_dataloader=dict(batch_size=1, dataset=folder_config(val))))


def test_good_data(config):
    reports = audit_train_datasets(config, max_files=4)
    assert [(r.name, r.checked, r.total) for r in reports] == [('source', 4, 6), ('target', 4, 5), ('validation', 2, 2)]
    assert all(report.ok for report in reports) and 'road' in reports[0].table()
    assert not reports[1].pixels  # no label of the target is looked at
    assert sum(reports[2].pixels.values()) == 2 * 24 * 40


def test_built_dataset(config):
    built = UDADataset(**{k: v for k, v in config.train_dataloader.dataset.items() if k != 'type'})
    assert [report.name for report in audit_train_datasets(built)] == ['source', 'target']


@pytest.mark.parametrize('domain', ['source', 'target', 'val'])
def test_fault_in_any_dataset_stops_training(config, tmp_path, domain):
    (tmp_path / domain / 'images' / '000.png').write_bytes(b'')
    with pytest.raises(ValueError, match=rf'{domain}/images/000.png is empty(.|\n)*check_dataset.py'):
        audit_train_datasets(config)


def test_a_few_ignored_labels_do_not_stop_training(config, tmp_path):
    write_image(tmp_path / 'source' / 'labels' / '000.png', np.full((24, 40), 255, np.uint8))
    assert [len(report.findings) for report in audit_train_datasets(config)] == [1, 0, 0]


def test_other_sampler_is_refused(config):
    config.train_dataloader.sampler.type = 'InfiniteSampler'
    with pytest.raises(ValueError, match="InfiniteSampler.*KeyedInfiniteSampler"):
        audit_train_datasets(config)


@pytest.mark.parametrize('color_type, mean, wrong', [
    ('color', [0, 0, 0], 0), ('grayscale', [0, 0, 0], 3), ('unchanged', [0, 0, 0], 0), ('color', [0] * 4, 3),
    ('grayscale', [0], 0), ('color', [0], 0)])
def test_channels_of_images_and_network(config, color_type, mean, wrong):
    source = config.train_dataloader.dataset.source
    source.pipeline[0].color_type = color_type
    config.train_dataloader.dataset = source
    config.val_dataloader = None
    config.model = dict(segmentor=dict(data_preprocessor=dict(mean=mean)))
    if not wrong:
        assert audit_train_datasets(config, max_files=3)[0].ok
        return
    with pytest.raises(ValueError, match=f'found {wrong} faults(.|\n)*000.png is loaded with .* channels, not '
                                         f'{len(mean)} as data_preprocessor.mean.*color_type of LoadImageStrictly'):
        audit_train_datasets(config, max_files=3)


def test_images_of_different_channels(config, tmp_path):
    write_image(tmp_path / 'source' / 'images' / '003.png', np.dstack([random_image(3), random_image(3)[..., :1]]))
    config.train_dataloader.dataset.source.pipeline[0].color_type = 'unchanged'
    with pytest.raises(ValueError, match='003.png is loaded with 4 channels, not 3 as other images have'):
        audit_train_datasets(config)


def test_own_loaders_are_used_and_explained(config):
    def load(results):
        if results['img_path'].endswith('004.png'):
            raise RuntimeError('no such sensor')
        return dict(results, img=np.zeros((24, 40, 5), np.uint8))
    dataset = DATASETS.build(dict(config.train_dataloader.dataset.source, pipeline=[load]))
    (finding,) = audit_dataset(dataset).findings
    assert re.search('004.png cannot be read by function of its pipeline .RuntimeError: no such sensor', finding.text)
    stock = dict(type='LoadImageFromFile', color_type='grayscale', imdecode_backend='pillow')
    dataset = DATASETS.build(dict(config.train_dataloader.dataset.source, pipeline=[stock]))
    assert audit_dataset(dataset).ok


def test_plain_dataset(config):
    config.train_dataloader.dataset = config.train_dataloader.dataset.source
    assert [report.name for report in audit_train_datasets(config)] == ['training', 'validation']


@pytest.mark.parametrize('count, expected', [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, range(6)), (99, range(6))])
def test_sample_is_spread_from_first_to_last(config, count, expected):
    dataset = DATASETS.build(config.train_dataloader.dataset.source)
    seen = []
    dataset.get_data_info, read = lambda i: seen.append(i) or read(i), dataset.get_data_info
    assert audit_dataset(dataset, max_files=count).checked == len(expected)
    assert seen == list(expected)


def test_tool(config, tmp_path, run, capsys):
    config.dump(tmp_path / 'config.py')
    assert run('check_dataset', tmp_path / 'config.py') == 0
    assert 'source: 6 of 6 samples checked, 0 faults' in capsys.readouterr().out
    write_image(tmp_path / 'source' / 'labels' / '003.png', random_image(0))
    write_image(tmp_path / 'val' / 'labels' / '001.png', np.full((24, 40), 9, np.uint8))
    assert run('check_dataset', tmp_path / 'config.py', nproc=2) == 1
    out = capsys.readouterr().out
    assert 'source/labels/003.png has 3 channels' in out and 'val/labels/001.png has the ids [9]' in out
    assert run('check_dataset', tmp_path / 'config.py', '--cfg-options',
               f'val_dataloader.dataset.data_root={tmp_path}/gone') == f"check_dataset: '{tmp_path}/gone/images' " \
        'is no folder: set data_root and data_prefix.img_path'


def test_tool_on_folders(tmp_path, run, capsys):
    root = write_folder(tmp_path / 'data', 2)
    (tmp_path / 'names.txt').write_text('\n'.join(CLASSES))
    write_image(root / 'labels' / '001.png', np.full((24, 40), 255, np.uint8))
    args = '--images', root / 'images', '--labels', root / 'labels', '--classes', tmp_path / 'names.txt'
    assert run('check_dataset', *args) == 1 and 'all-ignore' in capsys.readouterr().out
    assert run('check_dataset', '--images', root / 'images') == 0  # unlabelled
    (root / 'labels' / '001.png').unlink()
    assert 'have no label' in run('check_dataset', *args)
    assert run('check_dataset') == run('check_dataset', '--images', root, '--labels', root) == 2  # usage


def test_tool_as_a_program(tmp_path):
    root = write_folder(tmp_path / 'data', 1)
    done = preloaded(TOOL, '--images', root / 'images', '--nproc', '1', cwd=ROOT)
    assert '1 of 1 samples checked, 0 faults' in done.stdout
