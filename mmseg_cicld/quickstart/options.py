"""Options of the quick start, and the promise that one folder holds the results of one set of options."""
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..json_files import write_json

OPTIONS_FILE = 'quickstart.json'


class OptionsChanged(ValueError):
    """A folder holds the results, or the images, of other options."""


@dataclass(frozen=True)
class QuickstartOptions:
    """What the quick start does.

    Args:
        work_dir: Folder of checkpoints, logs, summary and report.
        data_root: Folder of the street set.
        images: Training images of each domain; the target gets a quarter as many for validation.
        source_iters: Iterations of the source-only training.
        adapt_iters: Iterations of the adaptation.
        seed: Seed of both trainings. The images always are those of seed 0.

    Raises:
        ValueError: If a number is out of range.
    """

    work_dir: Path = Path('work_dirs/quickstart')
    data_root: Path = Path('data/street')
    images: int = 200
    source_iters: int = 150
    adapt_iters: int = 150
    seed: int = 0

    def __post_init__(self) -> None:
        for name, smallest in dict(images=8, source_iters=2, adapt_iters=2, seed=0).items():
            if getattr(self, name) < smallest:
                raise ValueError(f'--{name.replace("_", "-")} {getattr(self, name)}: give {smallest} or more')


def claim_folder(options: QuickstartOptions) -> None:
    """Records the options in the work folder, or compares them with those recorded there.

    Raises:
        OptionsChanged: If the folder belongs to other options.
    """
    path = options.work_dir / OPTIONS_FILE
    now = {name: value for name, value in asdict(options).items() if name != 'work_dir'}
    now['data_root'] = str(options.data_root)
    if path.is_file():
        before = json.loads(path.read_text())
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            there, asked = (' '.join(f'--{name.replace("_", "-")} {values.get(name)}' for name in changed)
                            for values in (before, now))
            raise OptionsChanged(f'{options.work_dir} holds a run with {there}, you asked for {asked}. Repeat the old '
                                 'options to continue it, give another --work-dir for a new run, or delete the folder')
        return
    options.work_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, now)
