"""tools/translate_dataset.py as a user runs it: killed, with several processes, with wrong input."""
import importlib.util
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config
from shell_commands import ROOT, environment, interrupt, preloaded, preloaded_environment

TOOL = ROOT / 'tools/translate_dataset.py'
sys.path.insert(0, str(ROOT / 'tests/test_translation'))  # the config of the segmentors imports from there

from tiny_translation import contents, write_config, write_segmentor, write_source  # noqa: E402

PATHS = dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests/test_translation')]))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a guided, filtered translation of 24 images in ``translate.py``."""
    guide, judge = write_segmentor(tmp_path / 'guide'), write_segmentor(tmp_path / 'judge', order=(1, 0, 2))
    target = write_source(tmp_path / 'target', 3)
    config = write_config(
        tmp_path, count=24, segmentor=guide, guidance=dict(local_scale=0.5), batch_size=3,
        translation=dict(level=0.5, steps=10), tile=dict(size=(8, 16), overlap=4),
        quality_filter=dict(segmentor=judge, pixel_confidence=0.2),
        report=dict(segmentor=judge, features=judge, target=target, rows=1))
    Config(config).dump(tmp_path / 'translate.py')
    return tmp_path


@pytest.fixture
def translate(folder, monkeypatch, capsys) -> Callable:
    """Runs the tool in this process; gives what it printed, or the message that it ended with."""
    spec = importlib.util.spec_from_file_location('translate_dataset', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(folder)

    def call(output: str, *more: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['translate_dataset.py', 'translate.py', '--output', output, *more])
        try:
            module.main()
        except SystemExit as end:
            return str(end.code)
        return capsys.readouterr().out
    return call


def kill_halfway(folder: Path, output: str) -> None:
    """Starts a translation and kills it, as the kernel does, when a few images are there."""
    records = folder / output / 'translation/records'
    interrupt([sys.executable, '-W', 'ignore', TOOL, 'translate.py', '--output', output], folder,
              lambda: sum(1 for _ in records.rglob('*.json')) >= 5, signal.SIGKILL, environment(**PATHS))


def test_killed_and_continued_is_as_if_never_stopped(folder, translate):
    printed = translate('whole')
    assert 'translated: 24/24 images' in printed and 'translated dataset: whole' in printed
    whole = contents(folder / 'whole')
    kill_halfway(folder, 'killed')
    stopped = contents(folder / 'killed')
    images = [name for name in stopped if name.startswith('images/') and not name.endswith('.tmp')]
    assert 5 <= len(images) < 24 and 'translation/images.json' not in stopped
    assert all(stopped[name] == whole[name] for name in stopped if name in whole)
    times = {name: (folder / 'killed' / name).stat().st_mtime_ns for name in images}
    left = 24 - sum('records' in name and not name.endswith('.tmp') for name in stopped)
    printed = translate('killed')
    assert contents(folder / 'killed') == whole
    assert int(printed.split('translated: ')[1].split('/')[0]) <= left + 2  # images of a batch go together
    assert sum((folder / 'killed' / name).stat().st_mtime_ns == times[name] for name in images) >= 24 - left


def test_two_processes_give_what_one_gives(folder, translate):
    translate('one')
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    done = preloaded('-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={port}', TOOL, 'translate.py',
                     '--output', 'two', '--launcher', 'pytorch', cwd=folder, env=preloaded_environment(**PATHS))
    assert 'translated by process 0 of 2: 12/12' in done.stdout and 'by process 1 of 2: 12/12' in done.stdout
    one, two = contents(folder / 'one'), contents(folder / 'two')
    reports = [json.loads(files.pop('translation/report.json')) for files in (one, two)]
    for files in (one, two):
        files.pop('translation/report.html')
    assert one == two
    assert reports[0]['label_agreement'] == reports[1]['label_agreement']
    for part in ('before', 'after'):
        values = [report['frechet_distance'][part] for report in reports]
        assert values[0] == pytest.approx(values[1])


def test_errors_are_one_line_and_can_be_corrected(translate):
    for options, line in (
            (['--cfg-options', 'segmentor.checkpoint=nowhere.pth'], "segmentor.checkpoint='nowhere.pth': there is no"),
            (['--cfg-options', 'report.segmentor.config=nowhere.py'], "report.segmentor.config='nowhere.py': there is"),
            (['--cfg-options', 'diffusion=source'], 'source/unet cannot be read'),
            (['--launcher', 'pytorch'], 'needs the environment variables')):
        message = translate('out', *options)
        assert message.startswith('error: ') and line in message and '\n' not in message
    assert 'translated: 24/24 images' in translate('out')
