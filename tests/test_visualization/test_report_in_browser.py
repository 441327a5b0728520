"""The report in a real browser: on a phone, by keyboard, on paper, in the dark."""
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import MISSING, PROGRAM, browse, measure

from mmseg_cicld.visualization import write_training_report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
NAMES = ('<b>x</b>', 'a class with a long name in several words', 'anotherverylongclassnamewithoutanyspaceinit', 'road')

MEASURE = """
  const visible = element => element.checkVisibility();
  const right = window.innerWidth + 0.5;
  const wide = [...document.querySelectorAll('body *')].filter(element => visible(element)
    && !element.closest('.scroll') && !element.classList.contains('skip')
    && element.getBoundingClientRect().right > right).map(element => element.tagName + ' ' + element.textContent.slice(0, 40));
  const reached = [...document.querySelectorAll('a[href], summary, [tabindex="0"]')].filter(visible);
  const unmarked = reached.filter(element => {
    element.focus({focusVisible: true});
    const style = window.getComputedStyle(element);
    return document.activeElement !== element || style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2;
  }).map(element => element.tagName);
  document.querySelector('.skip').focus();
  const skip = document.querySelector('.skip').getBoundingClientRect();
  const details = document.querySelector('details'), rows = () => visible(details.querySelector('td'));
  const closed = rows();
  details.querySelector('summary').click();
  const scrolling = [...document.querySelectorAll('.scroll')].filter(element => element.scrollWidth > element.clientWidth + 1);
  const small = [...document.querySelectorAll('p, li, td, th, dt, figcaption, code, span')].filter(element => visible(element)
    && element.textContent && parseFloat(window.getComputedStyle(element).fontSize) < 12).length;
  const shown = [...document.querySelectorAll('svg .axis')].filter(visible)[0].getBoundingClientRect().height;
  const images = [...document.images];
  return {
    width: window.innerWidth, scroll: document.documentElement.scrollWidth, wide: wide.slice(0, 5),
    reached: reached.length, unmarked, skip: skip.left >= 0 && skip.top >= 0, opens: !closed && rows(),
    unreachable: scrolling.filter(element => element.tabIndex !== 0).length, small, axis: shown,
    images: images.length, broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    bold: document.querySelectorAll('b').length,
    name: [...document.querySelectorAll('tbody th')].filter(cell => cell.textContent === '<b>x</b>').length,
  };"""


@pytest.fixture
def page(made_up) -> Path:
    """A report with everything on it, and with names that are hard to show."""
    work_dir = made_up('a_work_dir_with_quite_a_long_name_of_one_word_as_they_have', classes=NAMES)
    return write_training_report(
        work_dir, source_only=made_up('source', classes=NAMES, score=20.0), oracle=made_up('oracle', classes=NAMES, score=40.0),
        evaluations={f'{network}, statistics of the {norm}': dict(miou=30.0, iou=dict.fromkeys(NAMES, 12.5))
                     for network in ('student', 'teacher') for norm in ('training', 'batch')})


@pytest.mark.parametrize('width', [390, 1280])
def test_it_fits_and_keys_reach_everything(page, width):
    found = measure(page, MEASURE, width)
    assert found['width'] == width
    assert found['scroll'] <= width and found['wide'] == [], 'nothing is wider than the screen'
    assert found['reached'] > 5 and found['unmarked'] == [] and found['skip'] and found['opens']
    assert found['unreachable'] == 0, 'what scrolls by itself can be reached'
    assert found['small'] == 0 and found['axis'] > 9, 'texts can be read'
    assert found['images'] > 5 and found['broken'] == 0
    assert found['bold'] == 0 and found['name'] > 1, 'names are text'


def test_it_prints_on_paper(page, tmp_path):
    file = tmp_path / 'report.pdf'
    browse(page, f'--print-to-pdf={file}', '--no-pdf-header-footer')
    content = file.read_bytes()
    pages = len(re.findall(rb'/Type\s*/Page\b', content))
    assert content.startswith(b'%PDF') and 1 <= pages <= 12


def test_it_is_dark_where_the_system_is(page, tmp_path):
    papers = []
    for name, options in dict(light=(), dark=('--force-dark-mode', '--blink-settings=preferredColorScheme=0')).items():
        browse(page, f'--screenshot={tmp_path / name}.png', '--window-size=800,600', *options)
        papers.append(cv2.imread(str(tmp_path / f'{name}.png'))[-5:, :5].mean())
    assert papers[0] > 200 and papers[1] < 60
    picture = cv2.imread(str(tmp_path / 'dark.png'))
    assert np.ptp(picture) > 150, 'light text on it'
