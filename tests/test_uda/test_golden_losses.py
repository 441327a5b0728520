"""Every method still gives the losses that were recorded; ``golden_losses.py`` says how to record them again."""
import pytest
from golden_losses import FOLDER, methods, run


def parse(line: str) -> dict[str, float]:
    return {key: float(value) for key, value in (entry.split('=') for entry in line.split())}


@pytest.mark.parametrize('method', methods())
def test_losses_are_the_recorded_ones(method):
    recorded = (FOLDER / f'{method}.txt').read_text().splitlines()
    for step, (now, then) in enumerate(zip(run(method), recorded, strict=True)):
        # float64 leaves room for nothing but the order of sums on another processor.
        assert parse(now) == pytest.approx(parse(then), rel=1e-7, abs=1e-10), f'{method}, step {step}'


def test_every_method_has_its_file():
    assert methods() == sorted(path.stem for path in FOLDER.glob('*.txt'))
