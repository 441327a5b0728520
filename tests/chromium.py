"""Shows a page in a real browser, headless Chromium, if there is one."""
import json
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = f'none of {", ".join(NAMES)} is installed (apt-get install chromium)'
_OPTIONS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars')


def browse(page: Path, *options: str) -> str:
    """Opens a page with a profile of its own, and returns what the browser printed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run([PROGRAM, *_OPTIONS, f'--user-data-dir={profile}', *options, page.as_uri()],
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measure(page: Path, script: str, width: int, height: int = 844) -> dict:
    """Shows a page in a frame of a width, as a phone would, and returns what a script says of it.

    Args:
        page: The HTML file, which stays as it is.
        script: Body of a JavaScript function of ``window`` and ``document`` of the page; returns what JSON can hold.
        width: Of the frame in CSS pixels; a window would not become as narrow as a phone.
        height: Likewise.
    """
    around = page.with_name(f'{page.stem}_measured.html')
    content = json.dumps(page.read_text(encoding='utf-8')).replace('<', '\\u003c')
    around.write_text(f"""<!DOCTYPE html><html><body><iframe width={width} height={height} style="border:0"></iframe>
<pre id="found"></pre><script>
const frame = document.querySelector('iframe'), found = document.querySelector('#found');
frame.onload = () => {{
  const measure = (window, document) => {{ {script} }};
  try {{ found.textContent = JSON.stringify(measure(frame.contentWindow, frame.contentDocument)); }}
  catch (error) {{ found.textContent = JSON.stringify({{error: String(error)}}); }}
}};
frame.srcdoc = {content};
</script></body></html>""", encoding='utf-8')
    try:
        printed = browse(around, '--virtual-time-budget=5000', '--dump-dom')
    finally:
        around.unlink()
    found = json.loads(unescape(printed.rpartition('<pre id="found">')[2].partition('</pre>')[0]))
    assert 'error' not in found, found
    return found
