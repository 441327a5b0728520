"""Which tests run which line, from one run of each test file on the unchanged code; it is kept for the next command."""
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import line_tracing
from forked_tests import run_tests

LONGEST = 1800  # seconds of a test file


class TestsByLine:
    """The tests of a copied project by the lines that they run.

    Args:
        folder: The copy, with the unchanged code whenever a file is traced.
        kept: Folder of the records of earlier commands. A record counts as long as its test file and the package are as
            they were.
        enough: Seconds of processor time of a test file after which its other tests are left out.
        marker: pytest's ``-m``.
    """

    def __init__(self, folder: Path, kept: Path, enough: float, marker: str | None = None) -> None:
        self._folder, self._kept, self._enough, self.marker = folder, kept, enough, marker
        shutil.copy(line_tracing.__file__, folder / 'sitecustomize.py')
        package = b''.join(file.read_bytes() for file in sorted(folder.glob('mmseg_cicld/**/*.py')))
        self._package = hashlib.sha256(package + f'{marker} {enough}'.encode()).hexdigest()
        self._record = cache(self._read)

    def seconds(self, test_file: str) -> dict[str, float]:
        """Returns all tests of a file, and their seconds, the quickest first."""
        return dict(sorted(self._record(test_file)['seconds'].items(), key=lambda item: item[1]))

    def running(self, test_file: str, file: str, lines: Sequence[int]) -> dict[str, float]:
        """Returns the tests of a test file that run one of the lines, and their seconds, the quickest first.

        All tests of the file, if a line runs while it is imported or a fixture is set up, which later tests may share.
        """
        places = self._record(test_file)['lines']
        found = {test for line in lines for test in places.get(f'{file}:{line}', ())}
        shared = any(not test.endswith('(call)') for test in found)
        return {name: value for name, value in self.seconds(test_file).items() if shared or f'{name} (call)' in found}

    def _read(self, test_file: str) -> dict:
        digest = hashlib.sha256(self._package.encode() + (self._folder / test_file).read_bytes()).hexdigest()
        kept = self._kept / f'{Path(test_file).stem}_{digest[:16]}.json'
        if not kept.is_file():
            record = self._trace(test_file)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(record))
        return json.loads(kept.read_text())

    def _trace(self, test_file: str) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder, 'lines.txt')
            written.touch()
            environment = {line_tracing.TRACED: str(self._folder / 'mmseg_cicld'), line_tracing.LINES: str(written)}
            run = run_tests(self._folder, test_file, None, LONGEST, self.marker, first=False, enough=self._enough,
                            environment=environment)
            lines: dict[str, set[str]] = {}
            for entry in written.read_text(encoding='utf-8').splitlines():
                test, file, line = entry.split('\t')
                lines.setdefault(f'{Path(file).relative_to(self._folder)}:{line}', set()).add(test)
        if run.outcome == 'timeout':
            raise SystemExit(f'error: {test_file} takes more than {LONGEST} s: name others with --tests')
        for name, words in run.failed.items():
            print(f'{name} is left out: it does not pass on the unchanged code while it is traced: {words}', flush=True)
        return dict(seconds=run.seconds, lines={place: sorted(tests) for place, tests in lines.items()})
