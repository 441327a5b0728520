"""What the GPU report consists of, the most important first, so that half an hour gives most."""
from dataclasses import dataclass, field
from typing import Any

PRECISIONS = ('bfloat16', 'tf32', 'float32')
LONGEST = 500  # seconds, so that an item fits into a call of nine minutes


@dataclass(frozen=True)
class Item:
    """One entry, which runs in a process of its own.

    Args:
        name: Its name, and that of its files.
        function: ``module:function``; it gets the :class:`~gpu_items.records.Setting`, a folder for what it writes, and
            the arguments, and returns figures by name.
        seconds: About how long it takes on a GPU.
        arguments: Of the function.
    """

    name: str
    function: str
    seconds: int
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """Seconds after which it is stopped."""
        return min(max(3 * self.seconds, 120), LONGEST)


def step(method: str, seconds: int) -> Item:
    """Measures the training step of a method, not compiled, in each precision."""
    return Item(f'step_{method}', 'gpu_items.steps:eager', seconds, dict(method=method))


def compiled(method: str, seconds: int, precision: str = 'bfloat16') -> Item:
    """Measures the compiled training step of a method in one precision, beside the same without."""
    return Item(f'compiled_{method}_{precision}', 'gpu_items.steps:compiled', seconds,
                dict(method=method, precision=precision))


# Seconds of the compiled step, most of which the compiler takes.
COMPILED = {'daformer': 150, 'hrda': 200, 'mic': 220, 'dida': 200, 'cicld': 200, 'dinov2-l': 200, 'dinov2-l-lora': 150}
ITEMS = [
    Item('parity_float32', 'gpu_items.parity:compare', 90, dict(autocast=False)),
    step('daformer', 60),
    step('hrda', 90),
    compiled('daformer', COMPILED['daformer']),
    Item('fp16_scaler', 'gpu_items.training_checks:skipped_step', 30),
    Item('exact_resume', 'gpu_items.training_checks:exact_resume', 60),
    Item('one_process', 'gpu_items.training_checks:one_process', 40),
    step('mic', 100),
    step('cicld', 80),
    step('dida', 80),
    step('dinov2-l-lora', 120),
    step('dinov2-l', 150),
    Item('inductor', 'gpu_items.training_checks:compiled_is_eager', 180),
    Item('parity_bfloat16', 'gpu_items.parity:compare', 90, dict(autocast=True)),
    Item('denoising_step', 'gpu_items.predicting:denoising_step', 40),
    Item('inference', 'gpu_items.predicting:exported_segmentors', 60),
    Item('translation', 'gpu_items.predicting:translation', 90),
    Item('quickstart', 'gpu_items.quick_start:quickstart', 150),
    *(compiled(method, seconds) for method, seconds in COMPILED.items() if method != 'daformer'),
    *(compiled(method, seconds, precision) for precision in PRECISIONS[1:] for method, seconds in COMPILED.items()),
]
