"""What is shown of work under way: counts, speed, and the time that is left."""
import io

import pytest

from mmseg_cicld.progress import Progress


def test_remaining_time_follows_the_measured_speed():
    now, lines = [0.0], []
    progress = Progress(lines.append, whole='whole quick start', report_every=0, clock=lambda: now[0])
    progress.plan('a', 'first', 10)
    progress.plan('b', 'second', 20)
    assert progress.remaining() == '0:30'
    progress.start('a')
    for done in range(1, 6):
        now[0] += 4
        progress.update('a', done, 10, 'steps')
    # Four of ten steps took 16 s, four times the plan: 20 s are left, and 80 s of the second stage.
    assert lines[-1] == f'[1/2] {"first":<24} 5/10 steps, 0:20 left, whole quick start 1:40 left'
    progress.skip('b', 'there')
    assert progress.remaining() == '0:20' and lines[-1] == f'[2/2] {"second":<24} there'
    now[0] += 3600
    progress.finish('a', 'done')
    assert progress.remaining() == '0:00' and lines[-1] == f'[1/2] {"first":<24} done (1:00:20)'


def test_what_was_done_before_has_no_speed():
    now, lines = [0.0], []
    progress = Progress(lines.append, report_every=0, clock=lambda: now[0])
    progress.plan('a', 'resumed', 100)
    progress.start('a')
    for done in (90, 92, 94):
        now[0] += 2
        progress.update('a', done, 100, 'steps')
    assert lines[-1] == 'resumed: 94/100 steps, 0:06 left, 1 steps/s' and progress.speed('a') == 1


def test_a_line_now_and_then_tells_speed_and_time_left():
    seconds, lines = [0.0], []
    progress = Progress(lines.append, clock=lambda: seconds[0])
    progress.plan('images', 'translated')
    progress.start('images')
    for done in range(20, 101, 20):
        seconds[0] += 4
        progress.update('images', done, 100, 'images')
    assert lines == ['translated: 60/100 images, 0:08 left, 5 images/s',
                     'translated: 100/100 images, finished in 0:20, 5 images/s']
    assert progress.speed('images') == pytest.approx(5)


def test_a_terminal_sees_one_bar_that_is_redrawn(monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    stream, now = io.StringIO(), [0.0]
    stream.isatty = lambda: True
    with Progress(print, stream, 'both', clock=lambda: now[0]) as progress:
        progress.plan('a', 'first', 10)
        progress.plan('b', 'second', 10)
        progress.start('a')
        for done in range(1, 4):
            now[0] += 1
            progress.update('a', done, 3, 'steps')
            assert f'{done}/3 steps' in stream.getvalue() and stream.getvalue().count('\n') == 0
        progress.finish('a', 'kept in [red] folder')
    assert '[1/2] first' in stream.getvalue() and 'kept in [red] folder (0:03)\n' in stream.getvalue()
    assert stream.getvalue().endswith('\x1b[?25h')  # the cursor is shown again
