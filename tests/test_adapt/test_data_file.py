"""Data described by the command line, by YAML as of ultralytics, and by Python as of mmseg."""
import argparse
import json
from pathlib import Path

import pytest
from adapt_case import describe

from mmseg_cicld.adapt.__main__ import check_data_options
from mmseg_cicld.adapt.data_description import DataDescriptionError, Images
from mmseg_cicld.adapt.data_file import read_data_file

YAML = """
path: .
train: source/images
target: target/images
val: val/images
names:
  0: road
  1: car
  2: sign
nc: 3
"""
PYTHON = """
data_root = '{root}'
metainfo = dict(classes=('road', 'car', 'sign'), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])
source = dict(type='FolderDataset', data_prefix=dict(img_path='source/images', seg_map_path='source/labels'))
target = dict(data_prefix=dict(img_path='target/images'))
val = dict(data_prefix=dict(img_path='val/images', seg_map_path='val/labels'))
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text.replace('{root}', str(path.parent)))
    return path


def test_yaml_and_python_say_what_the_command_line_says(root):
    expected = describe(root)
    assert read_data_file(write(root / 'data.yaml', YAML)) == expected
    found = read_data_file(write(root / 'data.py', PYTHON))
    assert found.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert (found.source, found.target, found.validation, found.classes) == (
        expected.source, expected.target, expected.validation, expected.classes)


def test_labels_elsewhere_and_names_as_a_list(root):
    (root / 'source/labels').rename(root / 'truth')
    (root / 'val/labels').rename(root / 'val_truth')
    text = 'train: source/images\ntrain_labels: truth\ntarget: target/images\nval: val/images\nval_labels: val_truth\n'
    data = read_data_file(write(root / 'data.yml', text + 'names: [road, car, sign]\n'))
    assert data.source == Images(root / 'source/images', root / 'truth', count=5)
    assert data.validation.labels == root / 'val_truth' and data.classes == ('road', 'car', 'sign')


def test_a_part_of_the_target_may_be_labelled(root):
    (root / 'val/images').rename(root / 'unused')
    (root / 'val/labels').rename(root / 'target/labels')  # labels of the first two images
    by_flags = describe(root, validation=None, target_labels=root / 'target/labels')
    text = YAML.replace('val: val/images', 'target_labels: target/labels')
    assert read_data_file(write(root / 'data.yaml', text)) == by_flags
    text = PYTHON.replace("img_path='target/images'", "img_path='target/images', seg_map_path='target/labels'")
    text = '\n'.join(line for line in text.splitlines() if not line.startswith('val'))
    assert read_data_file(write(root / 'data.py', text)).validation == by_flags.validation
    assert by_flags.validation.count == 2 and by_flags.target.count == 5 and by_flags.target.labels is None
    assert by_flags.validation.dataset([], None)['skip_unlabelled'] is True


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('data.yaml', YAML.replace('train:', 'trian:'), 'lacks train; it needs train, target, names'),
    ('data.yaml', YAML + 'tarin: x\n', 'has tarin, which nothing reads'),
    ('data.yaml', YAML.replace('2: sign', '3: sign'), r'ids \[0, 1, 3\], they have to be 0 to 2'),
    ('data.yaml', YAML.replace('target/images', 'tarket/images'), 'target images: .*tarket/images is no folder'),
    ('data.yaml', YAML.replace('source/images', '[a, b]'), r"train is \['a', 'b'\], give one folder"),
    ('data.yaml', 'a: [1', 'no valid YAML'),
    ('data.yaml', '- 1\n', 'holds no keys'),
    ('data.yaml', YAML + 'palette: [[1, 2, 3]]\n', '1 colours for 3 classes'),
    ('data.py', PYTHON + 'raise RuntimeError("no")', 'cannot be read: RuntimeError: no'),
    ('data.py', PYTHON.replace("seg_map_path='source/labels'", ''), 'source.data_prefix has no seg_map_path'),
    ('data.py', PYTHON.replace("'FolderDataset'", "'CityscapesDataset'"), "source.type is 'CityscapesDataset'"),
    ('data.py', PYTHON.replace("source = dict(type='FolderDataset'", 'source = dict(reduce_zero_label=True'),
     'has source.reduce_zero_label, which nothing reads'),
    ('data.py', PYTHON.replace('metainfo', 'meta_info'), 'lacks metainfo'),
    ('data.toml', '', 'neither .yaml nor .py'),
])
def test_mistakes_are_one_line(root, name, text, message):
    with pytest.raises(DataDescriptionError, match=message) as error:
        read_data_file(write(root / name, text))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('given', 'message'), [
    (dict(data=Path('d.yaml'), target=Path('t')), '--data d.yaml describes the data, and so does --target'),
    (dict(source=[Path('i'), Path('l')]), '--target, --classes missing'),
    (dict(source=[Path('i')] * 2, target=Path('t'), classes=Path('c'), val=[Path('i')] * 2, target_labels=Path('l')),
     '--val and --target-labels'),
])
def test_contradictions_of_the_command_line(given, message, capsys):
    options = dict.fromkeys(('source', 'target', 'classes', 'val', 'target_labels', 'data')) | given
    with pytest.raises(SystemExit):
        check_data_options(argparse.ArgumentParser(), argparse.Namespace(**options))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('classes.txt', '', 'at least one class name'), ('classes.txt', 'road\nroad\n', 'more than once'),
    ('classes.json', '{"klasses": []}', 'allowed are "classes" and "palette"'),
    ('classes.json', json.dumps(dict(classes=['a', 'b'], palette=[[0, 0, 0]])), '1 colours for 2 classes'),
    ('nothing.txt', None, 'does not exist')])
def test_files_of_classes_that_are_wrong(root, name, content, message):
    if content is not None:
        (root / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        describe(root, classes=root / name)
