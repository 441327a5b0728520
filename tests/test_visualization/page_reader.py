"""Reads an HTML page and checks that its tags close in order."""
from html.parser import HTMLParser
from pathlib import Path

VOID = {'meta', 'img'}


class Page(HTMLParser):
    """Text, tags with their attributes, and what stands in each heading, table cell and command of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ''
        self.within: dict[str, list[str]] = {}
        self.feed(path.read_text(encoding='utf-8'))
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within.setdefault(tag, []).append('')
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in self.open:
            self.within[tag][-1] += data

    def attributes(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]
