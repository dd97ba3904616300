"""Generated pages equal the code, `env.example` is every default, and no page names a file that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghtrader.reference_docs import PAGES
from ghtrader_base.settings import Settings

ROOT = Path(__file__).parents[3]
HAND_WRITTEN = [ROOT / name for name in ("README.md", "PRD.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCS = [*HAND_WRITTEN, *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_REPOSITORY_PATH = re.compile(r"`((?:ghtrader(?:_[a-z]+)?|tests|infra|docs|\.ci)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_current(page: str) -> None:
    assert (ROOT / page).read_text("utf-8") == PAGES[page](), "run `make docs`"


def test_env_example_names_every_setting_once_with_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = (ROOT / "env.example").read_text("utf-8").splitlines()
    values = [line[1:] for line in lines if re.match(r"#[A-Z]", line)]
    names = [str(info.alias) for info in Settings.model_fields.values()]
    assert sorted(value.partition("=")[0] for value in values) == sorted(names)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example").write_text("\n".join(values) + "\n")
    assert Settings(_env_file=tmp_path / "example") == Settings(_env_file=None)


def test_every_setting_is_explained() -> None:
    assert [info.alias for info in Settings.model_fields.values() if not info.description] == []


def _targets() -> Iterator[tuple[Path, str, Path]]:
    for page in DOCS:
        text = page.read_text("utf-8")
        for target in _LINK.findall(text):
            if "://" not in target:
                yield page, target, page.parent / target
        for name in _REPOSITORY_PATH.findall(text):
            yield page, name, ROOT / name


def _is_there(path: Path) -> bool:
    return path.exists()


def test_links_and_named_files_exist() -> None:
    targets = list(_targets())
    assert len(targets) > 150  # the patterns find something
    assert [f"{page.relative_to(ROOT)}: {name}" for page, name, path in targets if not _is_there(path)] == []


def test_links_to_a_heading_find_it() -> None:
    links = [
        (page, target, page if not target else page.parent / target, anchor)
        for page in DOCS
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8"))
        if "://" not in target
    ]
    assert len(links) > 40
    anchors = {path: _anchors(path) for path in {path.resolve() for _, _, path, _ in links}}
    missing = [
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page, target, path, anchor in links
        if anchor not in anchors[path.resolve()]
    ]
    assert missing == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in _LINK.findall(index.read_text("utf-8"))}
    assert {page for page in DOCS if page.parent != ROOT} - linked - {index} == set()


def test_every_promise_names_tests_that_exist() -> None:
    lines = (ROOT / "docs/concepts/safety.md").read_text("utf-8").splitlines()
    promises = [line for line in lines if line.startswith("| ") and not line.startswith("| promised ")]
    assert len(promises) > 20
    for promise in promises:
        tests = re.findall(r"`(tests/[\w/]+\.py)`", promise.split("|")[2])
        assert tests and [path for path in tests if not (ROOT / path).is_file()] == [], promise


def test_where_answers_twenty_questions_by_files() -> None:
    rows = [line for line in (ROOT / "docs/develop/where.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    questions = [row for row in rows if "?" in row.split("|")[1]]
    assert len(questions) >= 20
    assert [row for row in questions if not _REPOSITORY_PATH.search(row)] == []
    asked = [row.split("|")[1].strip() for row in questions]
    assert sorted(set(asked)) == sorted(asked), "each question stands once"
