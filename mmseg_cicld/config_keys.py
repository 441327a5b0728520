"""The top-level keys that a training or test reads, those that look like one of them misspelt, and changes of keys."""
import inspect
from collections.abc import Iterable, Mapping

from mmengine.config import Config
from mmengine.runner import Runner

from .build_errors import did_you_mean

# What the runner of this package and mmengine's read beside the arguments of mmengine's Runner.
_OF_RUNNERS = ('activation_checkpointing', 'allow_changed_resume', 'allow_unsafe_checkpoints', 'channels_last',
               'compile', 'custom_imports', 'efficient_conv_bn_eval', 'find_unused_parameters', 'fsdp', 'hand_over',
               'label_audit', 'model_wrapper_cfg', 'runner_type', 'sync_bn', 'tta_model', 'tta_pipeline')
TRAINING_KEYS = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | frozenset(_OF_RUNNERS)
_SHORTEST = 6  # of shorter words too many are one letter from another word


def check_options(options: Mapping[str, object], config: Config, known: Iterable[str] = TRAINING_KEYS) -> None:
    """Refuses changes of a top-level key that neither the config has nor anything reads, and those that contradict.

    Args:
        options: ``--cfg-options`` by dotted key.
        config: The config before them.
        known: Keys that a config may leave out.

    Raises:
        ValueError: If there is such a key.
    """
    check_contradictions(options)
    allowed = set(config.keys()) | set(known)
    for option in options:
        key = option.split('.')[0]
        if key not in allowed:
            raise ValueError(f"--cfg-options {option}: '{key}' is no key of the config and nothing reads it"
                             f'{did_you_mean(key, allowed)} The config has: {", ".join(sorted(config.keys()))}')


def check_contradictions(options: Mapping[str, object]) -> None:
    """Refuses a change inside of what another change replaces, unless it changes the dictionary that comes in before it.

    Args:
        options: Changes by dotted key, in the order in which they are made.

    Raises:
        ValueError: If there is one; mmengine would lose it, or fail on it without a message.
    """
    before: set[str] = set()
    for inner in options:
        for outer in options:
            if inner.startswith(f'{outer}.') and not (outer in before and isinstance(options[outer], Mapping)):
                raise ValueError(f'{outer} is replaced and {inner}, inside of it, is changed: write the change into the '
                                 f'value of {outer}, or leave one of them out')
        before.add(inner)


def check_training_keys(config: Config) -> None:
    """Refuses a top-level key that is one letter away from one that a training reads, which would go unread.

    Raises:
        ValueError: If there is such a key.
    """
    for key in config:
        alike = [] if key in TRAINING_KEYS or len(key) < _SHORTEST else [
            known for known in TRAINING_KEYS if _one_slip_apart(key, known)]
        if alike:
            raise ValueError(f"the config has the key '{key}', which nothing reads: is '{alike[0]}' meant? A variable "
                             'of your own needs another name')


def _one_slip_apart(one: str, other: str) -> bool:
    """Tells whether a letter is missing, added or wrong, or two neighbours are exchanged."""
    if one == other:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    exchanged = one[2:] == other[2:] and one[:2] == other[1::-1]
    return exchanged or one[1:] == other[1:] or one[1:] == other or one == other[1:]
