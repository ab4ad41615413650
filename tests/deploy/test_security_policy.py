"""SECURITY.md names tests that exist, and commands and settings that are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from streams.web_config import load_web_config
from tests.deploy.command_lines import commands_in, refusal

pytestmark = pytest.mark.security

ROOT = Path(__file__).resolve().parents[2]
POLICY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "security-http.md").read_text(encoding="utf-8")
HEAD = "| control | test | result |"


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def all_tests() -> frozenset[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(name for file in files for name in re.findall(r"(?m)^(?:async )?def (test_\w+)", file.read_text()))


def rows() -> list[list[str]]:
    """The rows of every table of controls, wherever one stands."""
    found = []
    for table in POLICY.split(HEAD)[1:]:
        for line in table.splitlines()[2:]:
            if not line.startswith("|") and line.strip() and not line.startswith("<!--"):
                break
            if line.startswith("|"):
                found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def missing(cell: str) -> str:
    """Return what is wrong with the tests that a cell names."""
    named = re.findall(r"`([^`]+)`", cell)
    if not named:
        return "names no test"
    for each in named:
        if words := re.fullmatch(r'(?:-k )"?([\w ]+?)"?', each):
            wanted = [word for word in words[1].split() if word not in ("and", "or", "not")]
            if not all(any(word in name for name in all_tests()) for word in wanted):
                return f"nothing is called {each}"
            continue
        file, _, name = each.partition("::")
        if not (ROOT / file).is_file():
            return f"there is no {file}"
        if name and name.partition("[")[0] not in names_in(file):
            return f"there is no {name} in {file}"
    return ""


def test_every_control_has_a_test_that_exists_and_a_result() -> None:
    assert len(rows()) >= 25
    for row in rows():
        assert len(row) == 3 and all(row), row
        assert missing(row[1]) == "", row


def test_a_test_that_does_not_exist_would_be_noticed() -> None:
    here = "tests/deploy/test_security_policy.py"
    assert missing("`tests/nowhere.py::test_x`") and missing(f"`{here}::test_nothing`") and missing("none")
    assert missing(f'`-k "{"no_such_".upper()}test"`')
    assert not missing(f"`{here}::test_a_test_that_does_not_exist_would_be_noticed`")


def test_the_guide_shows_a_file_that_is_taken_and_commands_that_exist(tmp_path: Path) -> None:
    (example,) = re.findall(r"(?s)```yaml\n   # web\.yml.*?```", GUIDE)
    text = "\n".join(line.removeprefix("   ") for line in example.splitlines()[1:-1])
    without_tls = text[text.index("http_server_config") :]
    file = tmp_path / "web.yml"
    file.write_text(without_tls, encoding="utf-8")
    config = load_web_config(file)
    assert set(config.users) == {"prometheus", "ann"} and config.role("ann") == "admin" and set(config.tokens)
    commands = commands_in(re.sub(r" < [\w-]+|(?m:^ +)", "", GUIDE))
    assert len(commands) >= 3 and [said for each in commands if (said := refusal(each))] == []
