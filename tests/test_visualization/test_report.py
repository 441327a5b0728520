"""The report is one well-formed page that needs nothing from outside."""
import base64
from collections import Counter
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmseg_cicld.visualization import ImageRow, write_report

VOID = {'meta', 'img'}
SUMMARY = dict(source_only_miou=21.34, adapted_miou=30.04, seed=3, seconds=700.5, device='CPU & friends',
               versions={'torch': '2.13.0'},
               per_class={'road': dict(source_only=80.0, adapted=90.4),
                          'train': dict(source_only=None, adapted=float('nan'))})
CURVES = dict(miou={'source-only': [(0, 1.0), (100, 21.3)], 'adapted': [(100, 21.3), (200, 30.0)]},
              loss={'source-only': [(10, 3.0), (100, float('nan'))], 'adapted': []})
PICTURE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


class _Page(HTMLParser):
    """Collects text, attributes and tags, and checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ''
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path) -> _Page:
    path = tmp_path / 'report.html'
    write_report(path, SUMMARY, CURVES, [ImageRow({'target image': PICTURE, 'label': PICTURE})],
                 [ImageRow({'pseudo-label': PICTURE, 'mix': PICTURE})], {'road': (1, 2, 3), 'train': (4, 5, 6)})
    assert [file.name for file in tmp_path.iterdir()] == ['report.html']
    return _Page(path.read_text(encoding='utf-8'))


def test_the_page_is_well_formed(page):
    assert page.open == []
    assert Counter(tag for tag, _ in page.tags)['html'] == 1


def test_nothing_is_fetched(page):
    addresses = [value for _, attrs in page.tags for key, value in attrs.items()
                 if key in ('src', 'href', 'xlink:href')]
    assert addresses and all(address.startswith('data:') for address in addresses)
    assert not {'script', 'link', 'iframe'} & {tag for tag, _ in page.tags}
    assert 'url(' not in page.text and '@import' not in page.text and 'http' not in page.text


def test_headline_numbers_classes_and_versions_are_there(page):
    for text in ('21.3', '30.0', '+8.7', 'road', '80 → 90', '– → –', '2.13.0', '700.50', 'CPU & friends',
                 'pseudo-label'):
        assert text in page.text, text


def test_a_loss_is_not_sold_as_a_gain(tmp_path):
    write_report(tmp_path / 'r.html', dict(SUMMARY, adapted_miou=20.0), CURVES, [], [], {})
    page = _Page((tmp_path / 'r.html').read_text())
    assert '-1.3' in page.text
    assert not [attrs for _, attrs in page.tags if attrs.get('class') == 'number gain']


def test_pictures_are_embedded_without_loss(page):
    sources = [attrs['src'] for tag, attrs in page.tags if tag == 'img']
    assert len(sources) == 4
    encoded = np.frombuffer(base64.b64decode(sources[0].split(',')[1]), np.uint8)
    assert (cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) == PICTURE).all()


def test_curves_and_bars_show_the_values(page):
    lines = [attrs for tag, attrs in page.tags if tag == 'polyline']
    assert [line['class'] for line in lines] == ['source', 'adapted', 'source', 'adapted']
    first, last = (tuple(map(float, point.split(','))) for point in lines[1]['points'].split())
    assert last[0] > first[0] and last[1] < first[1], 'later is further right, better is higher up'
    bars = {attrs['class']: float(attrs['width']) for tag, attrs in page.tags
            if tag == 'rect' and attrs['class'] != 'swatch' and float(attrs['width'])}
    assert bars['adapted'] / bars['source'] == pytest.approx(90.4 / 80, rel=0.01)


def test_names_cannot_break_the_page(tmp_path):
    name = '<script>x</script>"'
    summary = dict(SUMMARY, per_class={name: dict(source_only=1.0, adapted=2.0)}, note=name)
    write_report(tmp_path / 'r.html', summary, CURVES, [ImageRow({name: PICTURE})], [], {name: (1, 2, 3)})
    page = _Page((tmp_path / 'r.html').read_text())
    assert page.open == [] and 'script' not in {tag for tag, _ in page.tags}
