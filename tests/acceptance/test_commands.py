"""Every command is described, in its help and in docs/commands.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pgsim.cli.main import app

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below, groups too, by its words."""
    if path:
        yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


COMMANDS = dict(walk(typer.main.get_command(app)))
LEAVES = {name: command for name, command in COMMANDS.items() if not hasattr(command, "commands")}


def test_no_command_is_registered_twice() -> None:
    groups = [group.name for group in app.registered_groups]
    names = groups + [command.name for command in app.registered_commands]
    assert len(names) == len(set(names)), names


def test_the_commands_that_there_are() -> None:
    wanted = """
        demo | search
        db upgrade | db status | db url | db stop | db psql
        workspaces create | workspaces list | workspaces delete | workspaces limits
        rows import | rows show | rows list | rows count | rows delete | rows export
        embeddings create | embeddings list | embeddings show | embeddings import | embeddings count
        embeddings export | embeddings build | embeddings calibrate | embeddings swap | embeddings delete
        slices create | slices list | slices show | slices rows | slices count | slices update | slices rename
        slices anchors | slices history | slices export | slices delete
        batches create | batches list | batches show | batches export | batches delete
        select | metadata set | encode
        clusters build | clusters list | clusters show | clusters rows | clusters plot | clusters delete
        duplicates | report
    """
    assert set(LEAVES) >= {" ".join(name.split()) for name in re.split(r"[|\n]", wanted) if name.strip()}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_each_is_in_the_documentation(name: str) -> None:
    assert re.search(rf"`pgsim {name}\b", DOCS.read_text(encoding="utf-8")), f"docs/commands.md lacks `pgsim {name}`"


def test_the_documentation_names_nothing_else() -> None:
    cells = re.findall(r"^\| `pgsim ([a-z]+(?: [a-z]+)?)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert cells
    assert [name for name in cells if name not in LEAVES and name.split()[0] not in LEAVES] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_has_help(name: str, cli: Any) -> None:
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        hidden = getattr(parameter, "hidden", False)
        assert hidden or parameter.name in ("help", "install_completion", "show_completion") or parameter.help, (
            name,
            parameter.name,
        )
    answer = cli(*name.split(), "--help")
    assert "Usage: pgsim " + name in answer.out
    assert answer.err == ""


def test_documented_options_exist() -> None:
    text = DOCS.read_text(encoding="utf-8")
    known = {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in parameter.opts + parameter.secondary_opts
    }
    known |= {"--database", "--workspace", "--json", "--debug", "--help", "--version"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["embeddings", "nosuch"],
        ["embeddings", "create", "only-a-name"],
        ["embeddings", "create", "name", "not-a-number"],
        ["rows", "list", "--nosuch"],
        ["rows", "list", "--limit", "[red]many"],
        ["workspaces", "create"],
        ["db", "stop", "more"],
        ["search", "--min-score", "high"],
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str], cli: Any) -> None:
    answer = cli(*words, code=2)
    assert answer.out == ""
    assert "Usage: pgsim" in answer.err


def test_version(cli: Any) -> None:
    import pgsim

    assert cli("--version").out == f"pgsim {pgsim.__version__}\n"


@pytest.mark.parametrize("group", sorted(set(COMMANDS) - set(LEAVES)))
def test_a_group_alone_shows_its_commands(group: str, cli: Any) -> None:
    answer = cli(group, code=2)
    for name in COMMANDS[group].commands:
        assert name in answer.out + answer.err
