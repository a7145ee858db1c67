"""SECURITY.md names tests that there are."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]


def functions(path: Path) -> set[str]:
    return {n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(\w+(?:/\w+)*\.py)::(\w+)`", TEXT)
    assert len(named) > 30
    gone = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / "tests" / path).is_file() or name not in functions(ROOT / "tests" / path)
    ]
    assert not gone


def test_every_threat_has_a_defence_and_a_test() -> None:
    assert ROWS[0] == ["Threat", "Defence", "Test"]
    threats = [row for row in ROWS[2:] if not re.fullmatch(r"\*\*.+\*\*", row[0])]
    assert len(threats) > 15
    for row in threats:
        assert len(row) == 3, row[0]
        assert row[1], row[0]
        assert "::" in row[2], row[0]
