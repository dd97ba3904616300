"""Renders the HTML pages of reports: one file without anything from outside, all of one look."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render_page(template: Path, **values: Any) -> str:
    """A page from a template that extends ``page_base.html.j2``; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader([template.parent, Path(__file__).parent])
    return Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(template.name).render(**values)
