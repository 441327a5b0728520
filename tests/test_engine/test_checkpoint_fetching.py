"""Checkpoints by address: that file and no other is fetched and read safely; other code loads as it did."""
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmseg_cicld.engine import CheckpointError, fetch_checkpoint, safe_loading


class Attack:
    """Leaves a file behind when a pickle of it is executed."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}', )


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server; downloads go into a folder of their own."""
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(('localhost', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://localhost:{server.server_address[1]}', folder
        server.shutdown()


def _save(path: Path, value: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    torch.save({'state_dict': {'w': torch.full((1, ), value)}}, path)
    return path


def _value(address: str) -> float:
    return float(fetch_checkpoint(address)['state_dict']['w'])


def test_files_of_one_name_at_two_addresses_are_two_files(server):
    address, folder = server
    for value in (1., 2.):
        _save(folder / f'run{value:.0f}' / 'latest.pth', value)
    assert [_value(f'{address}/run{number}/latest.pth') for number in (1, 2, 1)] == [1., 2., 1.]
    (folder / 'run1/latest.pth').unlink()
    assert _value(f'{address}/run1/latest.pth') == 1., 'it has been fetched before'


def test_hash_in_a_name_is_compared(server, tmp_path):
    address, folder = server
    digest = hashlib.sha256(_save(folder / 'x.pth', 3.).read_bytes()).hexdigest()[:8]
    (folder / 'x.pth').rename(folder / f'net-{digest}.pth')
    _save(folder / 'net-00000000.pth', 4.)
    assert _value(f'{address}/net-{digest}.pth') == 3.
    assert (tmp_path / f'home/hub/checkpoints/net-{digest}.pth').is_file(), 'where torch has it too'
    with pytest.raises(CheckpointError, match='net-00000000.pth: has SHA-256 .*, its name says 00000000: delete'):
        fetch_checkpoint(f'{address}/net-00000000.pth')


@pytest.mark.parametrize('address, named', [
    ('http://127.0.0.1:1/none.pth', 'cannot be fetched .*URLError.*give its path'),
    ('open-mmlab://resnet7', 'mmengine knows no open-mmlab://resnet7'),
    ('nothing://a.pth', 'cannot be fetched .*give a path'),
    ('nowhere.pth', 'there is no such file'),
])
def test_what_cannot_be_fetched_is_one_line(server, address, named):
    with pytest.raises(CheckpointError, match=named) as error:
        fetch_checkpoint(address)
    assert '\n' not in str(error.value) and address in str(error.value)


def test_attack_from_the_network_does_not_run(server, tmp_path):
    address, folder = server
    torch.save({'state_dict': {}, 'meta': Attack(tmp_path / 'marker')}, folder / 'attack.pth')
    _save(folder / 'good.pth', 1.)
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({'attack': f'{address}/attack.pth'}))
    with safe_loading():
        for read in (fetch_checkpoint, CheckpointLoader.load_checkpoint):
            for name in (f'{address}/attack.pth', 'open-mmlab://attack'):
                with pytest.raises(CheckpointError, match='attack.pth: holds an object .posix.system'):
                    read(name, 'cpu')
        assert CheckpointLoader.load_checkpoint(f'{address}/good.pth')['state_dict']['w'] == 1
    assert not (tmp_path / 'marker').exists()


def test_code_of_others_loads_as_without_this_package(tmp_path):
    """``mmseg_cicld`` is imported here; mmengine's functions are its own, before and after a block of safe loading."""
    _save(tmp_path / 'a.pth', 1.)

    def readers() -> list[str]:
        names = [str(tmp_path / 'a.pth'), 'http://host/a.pth', 'open-mmlab://a']
        found = [CheckpointLoader._get_checkpoint_loader(name) for name in names]
        return [reader.__module__ for reader in (*found, mmengine_checkpoint.load_from_http)]

    before = readers()
    assert before == ['mmengine.runner.checkpoint'] * 4
    with pytest.raises(CheckpointError), safe_loading():
        assert readers()[0].startswith('mmseg_cicld')
        CheckpointLoader.load_checkpoint('nowhere.pth')
    assert readers() == before
    with pytest.raises(FileNotFoundError):
        CheckpointLoader.load_checkpoint('nowhere.pth')
