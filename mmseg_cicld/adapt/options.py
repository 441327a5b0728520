"""Options of an adaptation, and the promise that one folder holds the results of one set of options."""
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from ..json_files import read_json, write_json
from .data_description import DataDescription, Images, file_names
from .methods import METHODS, SOURCE_FREE

OPTIONS_FILE = 'options.json'
SMALLEST = 2  # iterations: one of each stage


class OptionsChanged(ValueError):
    """A folder holds the results of other options or other files."""


@dataclass(frozen=True)
class Options:
    """What was asked for beside the data.

    Args:
        work_dir: Folder of configs, checkpoints, report and exported segmentor.
        method: One of :data:`METHODS`.
        minutes: How long both trainings may take together; None to take ``iterations``.
        iterations: Of both trainings together; None for the default of the device.
        seed: Seed of both trainings.
        stages: Iterations of each training, in place of ``iterations``.
        model: A trained segmentor for ``method='source_free'``, as ``found_files`` finds it.
        config: Its config, None for the one beside it.

    Raises:
        ValueError: If a value is out of range.
    """

    work_dir: Path
    method: str = 'daformer'
    minutes: float | None = None
    iterations: int | None = None
    seed: int = 0
    stages: tuple[int, int] | None = None
    model: Path | None = None
    config: Path | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f'--method {self.method}: give one of {", ".join(METHODS)}')
        if self.method == SOURCE_FREE and self.model is None:
            raise ValueError(f'--method {SOURCE_FREE} adapts a segmentor that is trained already, and --model is missing: '
                             'give a folder of export_segmentor.py, the work dir of a training, or a .pth file')
        if self.method != SOURCE_FREE and self.model is not None:
            raise ValueError(f'--model {self.model} is a segmentor to adapt without its source data, but --method '
                             f'{self.method} trains one from the source: give --method {SOURCE_FREE}, or leave --model away')
        if self.config is not None and self.model is None:
            raise ValueError(f'--config {self.config} belongs to a --model, which is missing: give both, or none')
        if self.minutes is not None and self.iterations is not None:
            raise ValueError(f'--minutes {self.minutes} and --iterations {self.iterations} contradict each other: give '
                             'one of them')
        if self.minutes is not None and not 0 < self.minutes < float('inf'):
            raise ValueError(f'--minutes {self.minutes}: give more than 0')
        if self.iterations is not None and self.iterations < SMALLEST:
            raise ValueError(f'--iterations {self.iterations}: give {SMALLEST} or more')
        if self.seed < 0:
            raise ValueError(f'--seed {self.seed}: give 0 or more')


def claim_folder(options: Options, data: DataDescription) -> None:
    """Records options and files in the work folder, or compares them with those recorded there.

    Raises:
        OptionsChanged: If the folder belongs to other options or files.
    """
    path, now = options.work_dir / OPTIONS_FILE, _recorded(options, data)
    before = read_json(path, None)
    if before is None:
        options.work_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
        return
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        there, asked = (', '.join(f'{name} {values.get(name)}' for name in changed) for values in (before, now))
        raise OptionsChanged(f'{options.work_dir} holds a run with {there}; you asked for {asked}. Repeat the old '
                             'options to continue it, give another --work-dir for a new run, or delete the folder')


def _recorded(options: Options, data: DataDescription) -> dict:
    asked = {f'--{name}': list(value) if isinstance(value, tuple) else value
             for name, value in asdict(options).items() if name not in ('work_dir', 'model', 'config')}
    given = {f'--{name}': None if path is None else str(path.resolve())
             for name, path in dict(model=options.model, config=options.config).items()}
    folders = dict(source=data.source, target=data.target, labelled_target=data.validation)
    return asked | given | {name: None if images is None else _files(images) for name, images in folders.items()} | dict(
        classes=list(data.classes))


def _files(images: Images) -> str:
    """Tells folders and files apart in a few words; two sets of the same names are one."""
    names = {folder: file_names(folder, str(folder)) for folder in (images.images, images.labels) if folder is not None}
    digest = hashlib.blake2b(repr(list(names.values())).encode(), digest_size=4).hexdigest()
    return ' and '.join(f'{len(found)} files in {folder}' for folder, found in names.items()) + f' (names {digest})'
