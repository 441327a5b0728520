"""Rounds of translation and fine-tuning."""
import copy
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_progressive import write_progressive
from tiny_translation import contents

from mmseg_cicld.engine import CheckpointError, read_checkpoint
from mmseg_cicld.translation import TranslationError
from mmseg_cicld.translation.progressive import ProgressiveSettings, Round, fine_tuning, translate_progressively

ROUNDS = [dict(level=0.2, iterations=2), dict(level=0.4, iterations=2, options={'translation.steps': 3}),
          dict(level=0.6, iterations=0)]


def results(root: Path) -> dict[str, bytes]:
    """What the rounds made: images, and weights of the segmentors."""
    images = {name: data for name, data in contents(root).items() if '/images/' in name}
    weights = {path.relative_to(root).as_posix(): read_checkpoint(path)['state_dict']
               for path in sorted(root.rglob('iter_2.pth'))}
    return images | {f'{file}:{name}': value.numpy().tobytes() for file, state in weights.items()
                     for name, value in state.items()}


@pytest.fixture(scope='module', autouse=True)
def plain_configs() -> Iterator[None]:
    """Leaves configs without a fine layout: computing one took most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.config.config.FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture
def folder(tmp_path) -> Path:
    write_progressive(tmp_path, ROUNDS).dump(tmp_path / 'rounds.py')
    return tmp_path


@pytest.fixture(scope='module')
def finished(tmp_path_factory) -> tuple[Config, Path]:
    """A config, and the folder of its rounds after one call."""
    root = tmp_path_factory.mktemp('finished')
    config = write_progressive(root, ROUNDS)
    assert translate_progressively(config, root / 'out') == root / 'out/round_3/dataset'
    return config, root / 'out'


def test_each_round_is_guided_by_the_segmentor_of_the_one_before(finished):
    config, out = finished
    rounds = json.loads((out / 'rounds.json').read_text())
    assert [each['level'] for each in rounds] == [0.2, 0.4, 0.6]
    trained = [out / f'round_{k}/training_{k}/iter_2.pth' for k in (1, 2)]
    assert [each['segmentor']['checkpoint'] for each in rounds] == [str(trained[0]), str(trained[1]), str(trained[1])]
    started = read_checkpoint(out / 'round_1/start.pth')['state_dict']
    guide = torch.load(config.segmentor.checkpoint, weights_only=True)['state_dict']
    assert {name: value.tolist() for name, value in started.items()} == {
        f'student.{name}': value.tolist() for name, value in guide.items()}
    again = read_checkpoint(out / 'round_2/start.pth')['state_dict']
    ended = read_checkpoint(trained[0])['state_dict']
    assert all(value.equal(ended[name]) for name, value in again.items())
    # The weights move, so the rounds are guided by different segmentors.
    assert not again['student.decode_head.conv_seg.weight'].equal(started['student.decode_head.conv_seg.weight'])
    assert not (out / 'round_3/training_3').exists()
    recorded = [json.loads((out / f'round_{k}/dataset/translation/settings.json').read_text()) for k in (1, 2, 3)]
    assert [each['translation'] for each in recorded] == [
        dict(level=0.2, steps=2), dict(level=0.4, steps=3), dict(level=0.6, steps=2)]
    assert len({each['segmentor']['checkpoint'] for each in recorded}) == 3


def test_stopped_between_and_within_rounds_ends_the_same(finished):
    config, out = finished
    straight, kept = results(out), (out / 'round_1/training_1/iter_2.pth').stat().st_mtime_ns
    # As if it had been stopped in the translation of the second round.
    shutil.rmtree(out / 'round_3')
    shutil.rmtree(out / 'round_2/training_2')
    (out / 'round_2/stages.json').unlink()
    (out / 'round_2/dataset/translation/images.json').unlink()
    for path in list((out / 'round_2/dataset/images').rglob('*.png'))[1:]:
        path.unlink()
    time.sleep(1)  # mmengine names what a training writes by the second
    translate_progressively(config, out)
    stopped = results(out)
    assert straight.keys() == stopped.keys() and len(straight) > 15
    assert {name for name in straight if straight[name] != stopped[name]} == set()
    assert (out / 'round_1/training_1/iter_2.pth').stat().st_mtime_ns == kept


def test_rounds_of_other_settings_are_refused(finished):
    config, out = finished
    for key, value in {'progressive.rounds.0.iterations': 3, 'progressive.hand_over': {'decode_': 'student.decode_'},
                       'progressive.options': {'optim_wrapper.optimizer.lr': 0.2}}.items():
        other = copy.deepcopy(config)
        other.merge_from_dict({key: value})
        with pytest.raises(CheckpointError, match='config of training_1 is not the one'):
            translate_progressively(other, out)


def test_a_folder_in_use_is_left_alone(folder):
    (folder / 'out').mkdir()
    script = ('import fcntl, sys, time\n'
              'with open(sys.argv[1], "a") as lock: fcntl.flock(lock, fcntl.LOCK_EX); print(flush=True); time.sleep(600)')
    command = [sys.executable, '-c', script, folder / 'out/running.lock']
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(CheckpointError, match='is held by'):
            translate_progressively(Config.fromfile(folder / 'rounds.py'), folder / 'out')
        other.kill()
    assert not list((folder / 'out').glob('round_*'))


def test_fine_tuning_has_the_length_of_the_round_and_reads_its_images(folder):
    settings = ProgressiveSettings.from_config(Config.fromfile(folder / 'rounds.py'))
    config = fine_tuning(settings, Round(0.3, 20), Path('translated'), Path('start.pth'))
    assert (config.train_cfg.max_iters, config.train_cfg.val_interval) == (20, 20)
    assert [scheduler.end for scheduler in config.param_scheduler] == [1, 20]
    later = dataclasses.replace(settings, options={'param_scheduler.1.end': 51})
    assert fine_tuning(later, Round(0.3, 20), Path(), Path()).param_scheduler[1].end == 21
    assert config.train_dataloader.dataset.translated == dict(data_root='translated', share=1.0)
    assert config.load_from == 'start.pth'


@pytest.mark.parametrize('changes, message', [
    ({'rounds': []}, 'levels \\[\\]: give at least one'),
    ({'rounds': [dict(level=0.5, iterations=1), dict(level=0.2, iterations=1)]}, r'\[0.5, 0.2\]'),
    ({'rounds': [dict(level=0.2, iterations=0), dict(level=0.5, iterations=1)]}, 'in the last round also 0'),
    ({'rounds': [dict(levels=0.2, iterations=0)]}, "'levels'"),
    ({'train': 'x.py'}, "'train'"),
    ({'share': 1.5}, 'share is 1.5, allowed'),
    ({'rounds': [ROUNDS[0], dict(level=0.5, iterations=0, options={'translation.step': 3})]}, 'level 0.5: .* no step;'),
    ({'options': {'train_dataloader.dataset.source.data_root': 'elsewhere'}}, 'source.data_root=elsewhere, but'),
    ({'options': {'train_dataloader.dataset.type': 'FolderDataset'}}, 'trains with a FolderDataset'),
    ({'hand_over': {'student.': 'student.'}}, 'no weights that begin with'),
])
def test_wrong_configs_are_named(folder, changes, message):
    config = Config.fromfile(folder / 'rounds.py')
    config.progressive = dict(config.progressive.to_dict(), **changes)
    with pytest.raises(TranslationError, match=message):
        translate_progressively(config, folder / 'out')


def test_a_schedule_that_begins_too_late_is_named(folder):
    config = Config.fromfile(folder / 'rounds.py')
    config.progressive.options = {'param_scheduler.1.begin': 10}
    with pytest.raises(TranslationError, match='begins at iteration 10, but the round has iterations=2'):
        translate_progressively(config, folder / 'out')


def test_a_guide_is_needed(folder):
    config = Config.fromfile(folder / 'rounds.py')
    config.segmentor = config.guidance = None
    with pytest.raises(TranslationError, match='needs a guide'):
        translate_progressively(config, folder / 'out')
