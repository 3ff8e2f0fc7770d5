"""Documents: links lead somewhere, programs in them are tested ones, commands exist."""

import re
from pathlib import Path

import pytest

from fastilp.cli.main import COMMANDS
from fastilp.loadtest.packets import FULFILLMENT
from tests.cli.command import fastilp

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT, ROOT / "docs", ROOT / "examples")
DOCUMENTS = [path for folder in FOLDERS for path in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(path: Path) -> None:
    # `fastilp <word>` in code, not in prose.
    code = re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), re.DOTALL)
    called = r"^`*(?:\$ )?fastilp ([a-z]+(?:-[a-z]+)*)"
    for command in re.findall(called, "\n".join(code), re.MULTILINE):
        assert command in COMMANDS


@pytest.mark.parametrize("program", ["embedding.py", "amounts.pyx"])
def test_embedding_shows_the_programs_that_are_tested(program: str) -> None:
    source = (ROOT / "tests" / "programs" / program).read_text()
    body = source.partition('"""\n\n')[2] if program.endswith(".py") else source
    assert body in (ROOT / "docs" / "embedding.md").read_text()


def test_what_a_foreign_receiver_of_a_load_test_must_know_is_said() -> None:
    document = (ROOT / "docs" / "load-testing.md").read_text()
    assert FULFILLMENT.hex() in document and f"`{FULFILLMENT.decode()}`" in document
    helped = " ".join(fastilp("loadtest", "run", "--help").stdout.split())
    assert FULFILLMENT.decode() in helped


def test_readme_is_short_and_points_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert f"docs/{path.name}" in text
    assert "make run" in text and "make test" in text


def test_example_payment_names_the_accounts_of_the_example_node() -> None:
    script = (ROOT / "examples" / "pay.js").read_text()
    config = (ROOT / "examples" / "node.toml").read_text()
    for username in re.findall(r"connect\('(\w+)'\)", script):
        assert f'username = "{username}"' in config
        assert f'"{username}-btp-password"' in config
