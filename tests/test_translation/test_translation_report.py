"""The report of a translated dataset says what is in the files."""
import json

import numpy as np
import pytest
from tiny_translation import SIZE, write_config, write_segmentor, write_source

from mmseg_cicld.datasets.file_reading import read_image, read_label
from mmseg_cicld.translation import TranslationError, translate_dataset
from mmseg_cicld.translation.report import _spread


@pytest.fixture
def config(tmp_path):
    segmentor, target = write_segmentor(tmp_path / 'segmentor'), write_source(tmp_path / 'target', 4)
    judge = write_segmentor(tmp_path / 'judge', order=(1, 0, 2))
    target['data_prefix'].pop('seg_map_path')
    return write_config(
        tmp_path, count=3, quality_filter=dict(segmentor=judge, pixel_confidence=0.0),
        report=dict(segmentor=segmentor, features=segmentor | dict(size=SIZE), target=target, rows=2))


def test_numbers_are_those_of_the_files(config, tmp_path):
    out = translate_dataset(config, tmp_path / 'out', report=lambda line: None)
    report = json.loads((out / 'translation/report.json').read_text())
    hits = {'before': 0, 'after': 0, 'after_filter': 0}
    labelled = kept = 0
    features = {'source': [], 'translated': [], 'target': []}
    for index in range(4):
        name = f'town/{index:03}.png'
        features['target'].append(read_image(str(tmp_path / 'target/images' / name)).mean((0, 1))[::-1] / 32)
        if index == 3:
            continue
        label, left = (read_label(str(root / 'labels' / name)) for root in (tmp_path / 'source', out))
        labelled, kept = labelled + (label != 255).sum(), kept + (left != 255).sum()
        for part, root in (('source', tmp_path / 'source'), ('translated', out)):
            image = read_image(str(root / 'images' / name))[..., ::-1]
            features[part].append(image.mean((0, 1)) / 32)
            prediction = image.argmax(-1)
            if part == 'source':
                hits['before'] += (prediction == label).sum()
            else:
                hits['after'] += (prediction == label).sum()
                hits['after_filter'] += (prediction == left).sum()
    assert report['images'] == dict(source=3, written=3, dropped=0)
    assert report['labelled_pixels'] == labelled and report['masked_pixels'] == labelled - kept > 0
    assert report['masked_share'] == pytest.approx(1 - kept / labelled)
    for part, count in (('before', labelled), ('after', labelled), ('after_filter', kept)):
        assert report['label_agreement'][part]['pixel_accuracy'] == pytest.approx(hits[part] / count)
    assert report['label_agreement']['before']['mean_iou'] == 1  # colours are classes
    means = {part: np.mean(values, 0) for part, values in features.items()}
    for part, name in (('before', 'source'), ('after', 'translated')):
        least = ((means[name] - means['target']) ** 2).sum()  # the part of the means; that of covariances is positive
        assert report['frechet_distance'][part] > least * 0.999
    assert report['frechet_distance']['images'] == dict(source=3, translated=3, target=4)
    page = (out / 'translation/report.html').read_text()
    assert page.count('<img') == 2 * 6  # two rows; images, labels and predictions before and after
    assert f'{100 * report["masked_share"]:.1f}' in page and 'guided the translation' not in page


@pytest.mark.parametrize('count, shown', [(1, [0]), (2, [0, 6]), (3, [0, 3, 6]), (9, [*range(7)])])
def test_rows_are_spread_from_the_first_file_to_the_last(count, shown):
    assert _spread(range(7), count) == shown


def test_report_is_made_once_and_again_for_other_questions(config, tmp_path):
    out, lines = tmp_path / 'out', []
    translate_dataset(config, out, report=lines.append)
    assert [line.split(':')[0] for line in lines] == ['translated', 'measured', 'report']
    assert lines[1].startswith('measured: 3/3 images')
    report, image = out / 'translation/report.json', out / 'images/town/000.png'
    times = [path.stat().st_mtime_ns for path in (report, image)]
    translate_dataset(config, out, report=lines.append)
    assert [path.stat().st_mtime_ns for path in (report, image)] == times and len(lines) == 3
    config['report'] = dict(rows=1)
    translate_dataset(config, out, report=lines.append)
    assert len(lines) == 4 and image.stat().st_mtime_ns == times[1]
    assert json.loads(report.read_text()).keys() == {'asked', 'images', 'labelled_pixels', 'masked_pixels',
                                                     'masked_share'}
    assert (out / 'translation/report.html').read_text().count('<img') == 4


def test_a_guide_that_measures_itself_is_named(config, tmp_path):
    config |= dict(segmentor=config['report']['segmentor'], guidance=dict())
    out = translate_dataset(config, tmp_path / 'out', report=lambda line: None)
    assert 'This segmentor guided the translation' in (out / 'translation/report.html').read_text()


def test_missing_target_images_are_named(config, tmp_path):
    config['report']['target']['data_root'] = str(tmp_path / 'nowhere')
    with pytest.raises(TranslationError, match='report.target: .*nowhere'):
        translate_dataset(config, tmp_path / 'out', report=lambda line: None)
