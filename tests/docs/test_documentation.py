"""Every code block of the documentation runs, and every link, anchor and path in it exists."""

from __future__ import annotations

import re
from contextlib import closing
from doctest import ELLIPSIS
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from milepost import Engine
from milepost.serde import _types

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("drivers/*/*.md")]
)
SYBIL = Sybil(parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS)])
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    """Return the anchors that a Markdown renderer makes of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_python_block_runs_as_it_is_printed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MILEPOST_CHECKPOINTER", "MILEPOST_STORE"):
        monkeypatch.delenv(variable, raising=False)
    for table in ("_by_tag", "_by_class"):  # what a page registers stays on that page
        monkeypatch.setattr(_types, table, dict(getattr(_types, table)))
    engine = Engine()
    with closing(engine), engine:
        for example in SYBIL.parse(page).examples():
            example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_no_python_block_escapes_the_tests(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)[::2]
    assert set(fences) <= {"python", "console", "text", "{toctree}"}
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    prompts = sum(block.count(">>> ") for block in blocks)
    plain = sum(not block.lstrip().startswith(">>> ") for block in blocks)
    assert len(list(SYBIL.parse(page).examples())) == prompts + plain


def test_the_pages_that_teach_hold_python_blocks() -> None:
    for name in ("README.md", "docs/quickstart.md", "docs/how-it-works.md"):
        assert list(SYBIL.parse(ROOT / name).examples()), name


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_to_a_file_and_an_anchor_that_exist(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in _anchors(target), f"{link} names no heading"


def test_every_path_in_backquotes_exists() -> None:
    """The pages name modules, tests and examples; a renamed file must be renamed there too."""
    for page in PAGES:
        for path in re.findall(r"`((?:core|drivers|tests|examples|docs)/[\w./-]+)`", page.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{_name(page)} names {path}"


def test_the_machine_checks_run_the_test_command_of_the_readme() -> None:
    command = "python3 -m pip install nox && python3 -m nox -s tests"
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
