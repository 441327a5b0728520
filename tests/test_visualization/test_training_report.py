"""The report of a training is one well-formed page that needs nothing from outside and says what is so."""
import base64
import json
import shlex
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_reader import Page

from mmseg_cicld.visualization import ReportError, write_training_report
from mmseg_cicld.visualization.examples import read_examples
from mmseg_cicld.visualization.panel import colorize
from mmseg_cicld.visualization.training_record import read_record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def compared(made_up) -> dict[str, Path]:
    """Folders of three trainings, as arguments: source-only 21.34, adapted 30, oracle 40 mIoU."""
    return dict(work_dir=made_up('adapted'), source_only=made_up('source', score=21.34),
                oracle=made_up('oracle', score=40.0))


@pytest.fixture
def page(compared) -> Page:
    return Page(write_training_report(**compared))


def test_the_page_is_well_formed(page, compared):
    assert page.open == []
    assert Counter(tag for tag, _ in page.tags)['html'] == 1
    assert not list(compared['work_dir'].glob('.*'))


def test_nothing_is_fetched(page):
    addresses = [value for _, attrs in page.tags for key, value in attrs.items()
                 if key in ('src', 'href', 'xlink:href')]
    assert len(addresses) > 5 and all(address.startswith(('data:', '#')) for address in addresses)
    assert not {'script', 'link', 'iframe'} & {tag for tag, _ in page.tags}
    assert 'url(' not in page.text and '@import' not in page.text and 'http' not in page.text


def test_scores_gain_and_share_of_the_gap(page):
    numbers = dict(zip(page.within['dt'], page.within['dd']))
    assert numbers['mIoU, source-only (%)'] == '21.3' and numbers['mIoU, adapted (%)'] == '30.0'
    assert numbers['points, adapted over source-only'] == '+8.7'
    assert numbers['of the gap to the oracle closed'] == f'{100 * (30 - 21.34) / (40 - 21.34):.0f} %'
    for text in ('2.13.0', 'CPU & friends', '11 min 40 s', 'pseudo-label', 'SourceSupervision'):
        assert text in page.text, text


def test_a_loss_is_not_sold_as_a_gain(compared):
    page = Page(write_training_report(compared['work_dir'], source_only=compared['oracle']))
    assert '-10.0' in page.within['dd']
    assert 'number gain' not in [attrs.get('class') for attrs in page.attributes('div')]


def test_an_oracle_below_source_only_has_no_gap(compared):
    page = Page(write_training_report(compared['work_dir'], source_only=compared['oracle'],
                                      oracle=compared['source_only']))
    assert 'of the gap to the oracle closed' not in page.text
    assert 'the oracle is not better than source-only' in page.text


def test_evaluations_replace_validations_and_stand_side_by_side(compared):
    page = Page(write_training_report(**compared, evaluations={
        'adapted': dict(miou=35.0, iou={'road': 70.0, 'train': None}), 'teacher': dict(miou=36.25)}))
    assert '35.0' in page.within['dd'] and '30.0' not in page.within['dd']
    assert 'Networks side by side' in page.within['h2']
    assert '36.2' in page.within['td'] and '70.0' in page.within['td']


def test_pictures_show_what_was_predicted(page, compared):
    sources = {attrs['alt']: attrs['src'] for attrs in page.attributes('img')}
    encoded = np.frombuffer(base64.b64decode(sources['adapted'].split(',')[1]), np.uint8)
    example, = read_examples(compared['work_dir'])[0]
    expected = colorize(example.predictions['adapted'], read_record(compared['work_dir']).palette)
    assert (cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) == expected).all()
    assert {'image', 'label', 'pseudo-label', 'confidence, mean 0.75', 'confidence, mean 0.50'} <= set(sources)


def test_curves_and_bars_show_the_values(page):
    lines = [attrs for attrs in page.attributes('polyline')]
    assert [line['class'] for line in lines[:3]] == ['source', 'adapted', 'oracle']
    first, last = (tuple(map(float, point.split(','))) for point in lines[1]['points'].split())
    assert last[0] > first[0] and last[1] < first[1], 'later is further right, better is higher up'
    bars = [attrs for attrs in page.attributes('span') if 'style' in attrs][:3]
    assert [(bar['class'], bar['style']) for bar in bars] == [
        ('source', 'width:42.7%'), ('adapted', 'width:60.0%'), ('oracle', 'width:80.0%')]


def test_tables_have_captions_and_headings_and_sections_follow_each_other(page):
    assert len(page.within['caption']) == len(page.within['table']) and all(page.within['caption'])
    assert {attrs.get('scope') for attrs in page.attributes('th')} == {'row', 'col'}
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ('h1', 'h2', 'h3')]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    assert all(attrs.get('alt') for attrs in page.attributes('img'))


def test_names_cannot_break_the_page(made_up):
    name = '<b>x</b><script>y</script>"&\''
    work_dir = made_up('<i>work & "dir"', classes=(name, 'road'), losses={f'loss {name}': {10: 1.0}})
    path = write_training_report(work_dir, evaluations={name: dict(miou=1.0, iou={name: 2.0})})
    page = Page(path)
    assert page.open == [] and not {'script', 'b'} & {tag for tag, _ in page.tags}
    assert page.within['h1'] == ['<i>work & "dir"']
    assert name in page.within['th'] and f'loss {name}' in page.within['th']


def test_without_target_labels_it_says_what_it_cannot_know(made_up):
    page = Page(write_training_report(made_up('unlabelled', miou={}, iou={}, pictures=False)))
    assert not [text for text in page.within['dt'] if 'mIoU' in text]
    assert dict(zip(page.within['dt'], page.within['dd'])) == {
        'confident pseudo-labels': '70 %', 'agreement of student and teacher': '80 %',
        'mean confidence on the target': '90 %'}
    told = ' '.join(page.within['li'])
    assert 'not whether they are right' in told and 'Predictions: tools/report.py' in told
    assert 'Less than a tenth is left of: train.' in page.text
    assert not [command for command in page.within['code'] if 'test.py' in command], 'there is nothing to test with'


def test_commands_are_those_of_this_training(made_up, tmp_path):
    work_dir = made_up("my 'own' run")
    commands = [shlex.split(command) for command in Page(write_training_report(work_dir)).within['code']]
    programs = {Path(words[1]).name: words for words in commands if words[0] == 'python'}
    assert set(programs) == {'test.py', 'export_segmentor.py', 'predict.py', 'report.py', 'train.py'}
    assert commands[0] == ['cd', str(tmp_path)]
    assert all((ROOT / 'tools' / words[1]).is_file() for words in programs.values())
    assert programs['test.py'][2:4] == ["my 'own' run/adapt.py", "my 'own' run/iter_200.pth"]
    assert programs['predict.py'][2:4] == [programs['export_segmentor.py'][4], 'target images']
    assert '--resume' in programs['train.py'] and 'train_cfg.max_iters=400' in programs['train.py']
    stopped = [shlex.split(command) for command in Page(write_training_report(
        made_up('stopped', iterations=150))).within['code']][-1]
    assert stopped[2:] == ['stopped/adapt.py', '--work-dir', 'stopped', '--resume']


def test_classes_without_a_palette_have_colours_of_their_own(made_up):
    names = tuple(f'class {number}' for number in range(19))
    page = Page(write_training_report(made_up('plain', classes=names, palette=[])))
    colours = [attrs['style'] for attrs in page.attributes('i') if 'style' in attrs]
    assert len(set(colours)) == 19


def _logged(folder: Path, time: str, lines: list[dict]) -> None:
    path = folder / time / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))


def test_an_older_training_is_read_from_the_logs_of_mmengine(tmp_path):
    _logged(tmp_path, '20240101_000000', [
        dict(lr=0.01, base_lr=0.01, loss=2.0, **{'decode.loss_ce': 1.5, 'decode.acc_seg': 40.0}, time=0.1, iter=50, step=50),
        dict(mIoU=11.0, aAcc=50.0, data_time=0.1, time=0.2, step=50),
        dict(lr=0.005, loss=9.0, iter=100, step=100)])
    _logged(tmp_path, '20240102_000000', [dict(lr=0.005, loss=1.0, iter=100, step=100), dict(mIoU=22.0, step=100),
                                          dict(mIoU=99.0, step=0)])
    record = read_record(tmp_path)
    assert record.losses == {'loss': {50: 2.0, 100: 1.0}, 'decode.loss_ce': {50: 1.5}}
    assert record.miou == {50: 11.0, 100: 22.0} and record.learning_rate == {50: 0.01, 100: 0.005}
    page = Page(write_training_report(tmp_path))
    assert '22.0' in page.within['dd']
    told = ' '.join(page.within['li'])
    assert "default_hooks.report=dict(type='ReportHook')" in told and 'IoU of each class' in told


@pytest.mark.parametrize('content', [None, '{"losses": [', '{"losses": {"loss": {"x": 1}}}'])
def test_a_folder_without_a_readable_training_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / 'report').mkdir()
        (tmp_path / 'report/curves.json').write_text(content)
    with pytest.raises(ReportError, match=str(tmp_path)):
        write_training_report(tmp_path)
