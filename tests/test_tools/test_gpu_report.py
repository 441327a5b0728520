"""The GPU report runs every item, also without a GPU; it goes on where it was stopped, and says what failed."""
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'analysis_tools'))

import gpu_report
from gpu_items.aims import judged
from gpu_items.listing import ITEMS, LONGEST, Item
from gpu_items.methods import CONFIGS, method_config
from gpu_items.page import markdown
from gpu_items.parity import Deviations
from gpu_items.processes import run_in_process
from gpu_items.records import Setting, read_records, record_file, write_json
from gpu_items.run_item import recorded
from gpu_items.step_profile import covered, host_waits

TOOLS = Path(gpu_report.__file__).parent
TINY = Setting('cpu', small=True)


def own(function: str, name: str | None = None) -> Item:
    return Item(name or function, f'report_items:{function}', 1)


@pytest.fixture(autouse=True)
def own_items_are_found(monkeypatch):
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')]))


def of_other_precisions(item: Item) -> bool:
    """What is compiled in tf32 and float32 is compiled in bfloat16 too, and without a GPU tf32 is float32: one will do."""
    return item.arguments.get('precision') in ('tf32', 'float32') and item.name != 'compiled_daformer_tf32'


@pytest.mark.parametrize('item', [item for item in ITEMS if not of_other_precisions(item)], ids=lambda item: item.name)
def test_every_item_runs_without_a_gpu(tmp_path, item):
    record = recorded(item, tmp_path, TINY)
    assert record['status'] == 'ok', record
    assert json.loads(record_file(tmp_path, item.name).read_text())['figures'] and record['environment']['torch']
    rows = judged({item.name: record}, [item.name])
    # What a CPU can show is reached; the rest has no value, or is a figure of speed.
    missed = [row for row in rows if row['verdict'] == 'missed' and row['figure'].split('.')[-1] not in ('speedup', 'busy_share')]
    assert rows and not missed, missed


def test_items_fit_into_a_call_and_have_names_of_their_own():
    assert len({item.name for item in ITEMS}) == len(ITEMS)
    assert all(item.seconds <= item.limit <= LONGEST < 9 * 60 for item in ITEMS)
    assert sum(item.seconds for item in ITEMS[:9]) < 20 * 60


@pytest.mark.parametrize('method', CONFIGS)
def test_no_method_fetches_weights(method):
    text = method_config(method, small=False).model.__repr__()
    assert 'Pretrained' not in text and 'facebook/' not in text and 'http' not in text


def test_a_killed_report_goes_on(tmp_path):
    items = [own('quick'), own('waiting'), own('quick', 'last')]
    (tmp_path / 'wait').touch()
    call = (f'import gpu_report\nfrom gpu_items.listing import Item\nfrom gpu_items.records import Setting, Path\n'
            f'gpu_report.run({items}, Path({str(tmp_path)!r}), {TINY}, 1.0)')
    process = subprocess.Popen([sys.executable, '-c', call], cwd=TOOLS, stdout=subprocess.PIPE)
    eventually(lambda: (tmp_path / 'process').exists())
    process.kill()
    process.communicate()
    waiting = int((tmp_path / 'process').read_text())
    eventually(lambda: not alive(waiting))
    assert list(read_records(tmp_path)) == ['quick']
    report = json.loads((tmp_path / 'gpu_report.json').read_text())
    assert report['remaining'] == {'waiting': 1, 'last': 1}
    first = record_file(tmp_path, 'quick').stat().st_mtime_ns
    (tmp_path / 'wait').unlink()
    gpu_report.run(items, tmp_path, TINY, minutes=1.0)
    assert {name: record['status'] for name, record in read_records(tmp_path).items()} == dict.fromkeys(
        ('last', 'quick', 'waiting'), 'ok')
    assert record_file(tmp_path, 'quick').stat().st_mtime_ns == first
    assert json.loads((tmp_path / 'gpu_report.json').read_text())['remaining'] == {}


def test_what_fails_is_named_and_left_alone(tmp_path, capsys):
    items = [own('broken'), own('killed'), own('without_package'), own('quick')]
    for retry in (False, False, True):
        gpu_report.run(items, tmp_path, TINY, minutes=1.0, retry=retry)
    records = read_records(tmp_path)
    assert {name: record['status'] for name, record in records.items()} == {
        'broken': 'failed', 'killed': 'failed', 'quick': 'ok', 'without_package': 'skipped'}
    assert (tmp_path / 'tries').read_text() == 'xx'
    assert records['killed']['reason'] == 'ended by signal SIGABRT' and 'about to end' in records['killed']['lines']
    assert records['without_package']['reason'] == 'the package a_package_that_nobody_has is missing'
    page = (tmp_path / 'gpu_report.md').read_text()
    assert '### broken: failed' in page and 'ValueError: no such kernel' in page and 'raise ValueError' in page
    assert '[1/4] broken, about 1 s: failed' in capsys.readouterr().out


def test_an_item_ends_with_the_time_of_the_call_and_is_missing_then(tmp_path):
    (tmp_path / 'wait').touch()
    assert run_in_process(own('waiting'), tmp_path, TINY, seconds=2.0) is None
    assert read_records(tmp_path) == {} and not alive(int((tmp_path / 'process').read_text()))
    long = Item('long', 'report_items:quick', 100)
    gpu_report.run([long, own('quick')], tmp_path, TINY, minutes=0.5)
    assert list(read_records(tmp_path)) == ['quick'], 'what does not fit is for the next call, what fits is done'


def test_a_folder_belongs_to_one_setting(tmp_path, monkeypatch, capsys):
    write_json(record_file(tmp_path, 'inference'), dict(setting=vars(TINY), status='ok'))
    monkeypatch.setattr(sys, 'argv', ['gpu_report', str(tmp_path), '--device', 'cpu'])
    with pytest.raises(SystemExit):
        gpu_report.parse_args()
    assert 'holds 1 items of another --device or --small: give another OUT' in capsys.readouterr().err
    monkeypatch.setattr(sys, 'argv', ['gpu_report', str(tmp_path), '--device', 'cpu', '--small'])
    assert gpu_report.parse_args().setting == TINY


def test_page_lists_aims_beside_figures():
    setting = dict(device='cuda', small=False)
    steps = {'bfloat16.seconds': 0.3, 'bfloat16.peak_gb': 4.3, 'float32.peak_gb': 6.5, 'bfloat16.busy_share': None,
             'tf32.seconds': 'the memory of the card is too small'}
    records = {'step_daformer': dict(figures=steps, status='ok', setting=setting, environment=dict(device='a card')),
               'compiled_mic_tf32': dict(status='memory', reason='the memory of the card is too small', setting=setting)}
    rows = judged(records, ['step_daformer', 'compiled_mic_tf32', 'exact_resume'])
    found = {(row['item'], row['figure']): (row['aim'], row['verdict']) for row in rows}
    assert found['step_daformer', 'bfloat16.peak_gb'] == ('<= 5.82 (60 % of the published 9.7 GB)', 'ok')
    assert found['step_daformer', 'float32.peak_gb'][1] == 'missed'
    assert found['step_daformer', 'bfloat16.busy_share'] == ('>= 0.9 (of the time the GPU computes)', 'not run')
    assert found['step_daformer', 'bfloat16.seconds'][1] == 'not run'
    assert found['compiled_mic_tf32', 'speedup'][1] == found['exact_resume', '*.deterministic'][1] == 'not run'
    page = markdown(dict(rows=rows, items=records, remaining={'exact_resume': 60}))
    assert '| bfloat16.peak_gb | 4.3 | <= 5.82 (60 % of the published 9.7 GB) | ok |' in page
    assert '| step_daformer | float32.peak_gb | 6.5 |' in page.partition('## Figures')[0]
    assert 'device a card.' in page and '### compiled_mic_tf32: memory' in page and 'exact_resume (60 s)' in page


def test_busy_time_is_the_union_of_kernels():
    assert covered([(5, 6), (0, 2), (1, 3), (1, 2), (6, 7)]) == 5
    assert covered([]) == 0


def test_waits_are_counted_and_placed():
    def step():
        for _ in range(2):
            warnings.warn('called a synchronizing CUDA operation', stacklevel=1)
        warnings.warn('something else', stacklevel=1)

    before = warnings.showwarning
    found = host_waits(step, TINY)
    line = step.__code__.co_firstlineno + 2
    assert found == dict(host_waits=None, waits_for_losses=None, waits_at=f'test_gpu_report.py:{line} (2)')
    assert warnings.showwarning is before


def test_deviations_are_kept_in_shares_of_the_tolerance():
    kept = Deviations(np.asarray)
    kept('losses', 'first', 1.0, 1.02, rtol=0.01)
    kept('losses', 'second', np.array([4.0, np.nan]), np.array([4.0, np.nan]), atol=1e-3)
    kept('masks', 'mask', np.array([True, False]), np.array([True, True]))
    figures = kept.figures()
    assert figures['compared'] == 3 and figures['beyond_tolerance'] == 2
    assert figures['losses: share'] == pytest.approx(0.02 / 0.0102) and figures['losses: at'] == 'first'
    assert figures['losses: relative'] == pytest.approx(0.02 / 1.02)
    assert figures['worst_share_of_tolerance'] == figures['masks: share'] == 1e9
    kept('losses', 'third', np.nan, 1.0, atol=1.0)
    assert kept.beyond == 3 and kept.kinds['losses']['share'] == 1e9


def eventually(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (OSError, IndexError):
        return False
