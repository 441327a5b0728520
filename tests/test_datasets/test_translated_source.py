"""Translations in place of source images."""
import shutil

import pytest
from mmseg.registry import DATASETS
from tiny_datasets import folder_config, random_crops, write_folder

from mmseg_cicld.datasets.uda_dataset import DrawKey, UDADataset

DRAWS = 60


@pytest.fixture
def roots(tmp_path):
    """A source of five images, and translations of all but the second."""
    source, translated = write_folder(tmp_path / 'source', 5), tmp_path / 'translated'
    write_folder(translated, 5, seed=90)
    shutil.rmtree(translated / 'labels')
    shutil.copytree(source / 'labels', translated / 'labels')
    for folder in ('images', 'labels'):
        sorted((translated / folder).iterdir())[1].unlink()
    return source, translated


def build(source, translated: dict | None) -> UDADataset:
    return DATASETS.build(dict(type='UDADataset', source=folder_config(source, pipeline=random_crops()),
                               translated=translated))


def paths(dataset: UDADataset) -> list[str]:
    return [dataset[DrawKey(3, position)]['source']['data_samples'].metainfo['img_path'] for position in range(DRAWS)]


def test_share_of_the_draws_is_translated(roots):
    source, translated = roots
    original = paths(build(source, None))
    mixed = paths(build(source, dict(data_root=str(translated), share=0.5)))
    assert [path.rsplit('/', 1)[1] for path in mixed] == [path.rsplit('/', 1)[1] for path in original]
    from_translated = sum(str(translated) in path for path in mixed)
    assert 0.2 * DRAWS < from_translated < 0.6 * DRAWS  # half of four fifths
    assert mixed == paths(build(source, dict(data_root=str(translated), share=0.5)))


def test_dropped_images_are_taken_as_they_are(roots):
    source, translated = roots
    dropped = sorted((source / 'images').iterdir())[1].name
    for path in paths(build(source, dict(data_root=str(translated), share=1.0))):
        assert (str(source) in path) == path.endswith(dropped)


def test_crops_and_labels_are_those_of_the_draw_without_translations(roots):
    source, translated = roots
    plain, mixed = build(source, None), build(source, dict(data_root=str(translated), share=1.0))
    for position in range(10):
        one, other = (dataset[DrawKey(3, position)]['source'] for dataset in (plain, mixed))
        assert one['data_samples'].gt_sem_seg.data.equal(other['data_samples'].gt_sem_seg.data)
        assert other['inputs'].shape == one['inputs'].shape


@pytest.mark.parametrize('share', [0, 1.5])
def test_share_out_of_range(roots, share):
    with pytest.raises(ValueError, match='translated.share is'):
        build(roots[0], dict(data_root=str(roots[1]), share=share))


def test_translations_of_another_source_are_refused(roots, tmp_path):
    other = write_folder(tmp_path / 'other', 7)
    with pytest.raises(ValueError, match='2 images that the source does not have'):
        build(roots[0], dict(data_root=str(other)))


@pytest.mark.parametrize('key', ['img_path', 'seg_map_path'])
def test_files_of_the_source_do_not_pass_for_translations(roots, key):
    source, translated = roots
    shutil.copytree(source / 'labels', translated / 'labels', dirs_exist_ok=True)
    config = folder_config(source, pipeline=random_crops())
    config['data_prefix'][key] = str(source / config['data_prefix'][key])
    with pytest.raises(ValueError, match=f'belongs to the source: .*data_prefix.{key}'):
        DATASETS.build(dict(type='UDADataset', source=config, translated=dict(data_root=str(translated))))


def test_the_source_itself_is_no_translation(roots):
    with pytest.raises(ValueError, match='belongs to the source'):
        build(roots[0], dict(data_root=str(roots[0])))


def test_a_translation_that_was_stopped_is_refused(roots):
    source, translated = roots
    (translated / 'translation').mkdir()
    with pytest.raises(ValueError, match='translation that was stopped'):
        build(source, dict(data_root=str(translated)))
    (translated / 'translation/images.json').write_text('[]')
    assert build(source, dict(data_root=str(translated)))
