"""Bodies as Exchange keeps them: whatever was written comes back as a document of its own making.

A client that compares what it sent with what it reads finds a difference, as in the real service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

PREVIEW_LENGTH = 255
_DOCUMENT = re.compile(
    r"(?:\s*<!doctype[^>]*>)?\s*<html[^>]*>\s*(?:<head[^>]*>(?P<head>.*?)</head>)?\s*"
    r"(?:<body[^>]*>)?(?P<body>.*?)(?:</body>)?\s*(?:</html>)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_SCRIPT = re.compile(r"<script\b.*?</script\s*>|<script\b[^>]*/>", re.IGNORECASE | re.DOTALL)
_BLOCKS = frozenset({"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "hr"})
_UNSEEN = frozenset({"head", "style", "script", "title"})
_FROM_TEXT = '<meta name="Generator" content="Microsoft Exchange Server">\r\n<!-- converted from text -->'


@dataclass(frozen=True, slots=True)
class Body:
    """A stored body: the HTML document, and the same as plain text. Both are empty when nothing was written."""

    html: str = ""
    text: str = ""

    @property
    def preview(self) -> str:
        """The first characters of the text."""
        return self.text[:PREVIEW_LENGTH]


def read_html(content: str) -> Body:
    """The body that Exchange makes of HTML: a whole document without scripts; reading it back changes nothing more."""
    if not content.strip():
        return Body()
    content = _SCRIPT.sub("", content)
    found = _DOCUMENT.fullmatch(content)
    head, inner = (found["head"] or "", found["body"]) if found else ("", content)
    document = f"<html><head>{head}</head><body>{inner}</body></html>"
    return Body(document, _text_of(document))


def read_text(content: str) -> Body:
    """The body that Exchange makes of plain text: an HTML document that shows it."""
    if not content.strip():
        return Body()
    lines = content.replace("\r\n", "\n").split("\n")
    shown = "<br>\r\n".join(escape(line, quote=False) for line in lines)
    html = f'<html><head>{_FROM_TEXT}</head><body><div class="PlainText">{shown}</div></body></html>'
    return Body(html, "\r\n".join(lines))


class _Text(HTMLParser):
    """Collects what a reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = [""]
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the base's
        if tag in _UNSEEN:
            self._unseen += 1
        if tag in _BLOCKS and (self.lines[-1] or tag == "br"):
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN and self._unseen:
            self._unseen -= 1
        if tag in _BLOCKS and self.lines[-1]:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            glue = " " if self.lines[-1] and data[:1].isspace() else ""
            self.lines[-1] += glue + " ".join(data.split())
            if data[-1:].isspace() and data.strip():
                self.lines[-1] += " "


def _text_of(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "\r\n".join(line.strip() for line in parser.lines).strip()
