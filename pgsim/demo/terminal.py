"""What the demonstration types: real commands, run where they are shown, with the output that they gave."""

from __future__ import annotations

import code
import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from pgsim.errors import InvalidInputError, PgsimError

#: The command line in this process: the arguments after ``pgsim``, the exit code.
Invoke = Callable[[list[str]], int]

_WIDTH = 100
#: Characters that mean nothing to a shell, even unquoted.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%")
#: Characters that mean something to a shell in double quotes.
_ACTIVE = frozenset('"$`\\!')


def quote(word: str) -> str:
    """Quote a word for a POSIX shell, in double quotes where that reads better than in single ones."""
    if word and _PLAIN.issuperset(word):
        return word
    if "'" not in word:
        return f"'{word}'"
    # Before "=" even an interactive shell leaves "!" alone.
    if not _ACTIVE.intersection(word.replace("!=", "")):
        return f'"{word}"'
    return "'" + word.replace("'", "'\"'\"'") + "'"


def typed(words: Sequence[str]) -> str:
    """Write a command as a person would type it: long ones over several lines, an option with its value on one."""
    groups: list[str] = []
    for word in words:
        if groups and not word.startswith("-"):
            groups[-1] += " " + quote(word)
        else:
            groups.append(quote(word))
    lines = [groups[0]]
    for group in groups[1:]:
        if len(lines[-1]) + len(group) + 3 > _WIDTH:
            lines[-1] += " \\"
            lines.append("    " + group)
        else:
            lines[-1] += " " + group
    return "\n".join(lines)


def path_word(path: Path) -> str:
    """Write a path so that no command takes it for an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


class Terminal:
    """Shows what is typed and what it answers.

    Parameters
    ----------
    invoke : callable
        Runs a command line in this process.
    stream : text file
        Where people read.
    colour : bool
        Set what is typed in bold.
    """

    def __init__(self, invoke: Invoke, stream: TextIO, *, colour: bool = False) -> None:
        self._invoke = invoke
        self._stream = stream
        self._colour = colour
        self.commands: list[str] = []

    def say(self, text: str) -> None:
        """Explain the next step."""
        self._write("\n" + "\n".join(f"# {line}" for line in text.splitlines()))

    def run(self, *words: str, into: Path | None = None) -> str:
        """Type and run a command of pgsim.

        Parameters
        ----------
        *words : str
            The arguments after ``pgsim``.
        into : Path, optional
            A file that takes standard output, as ``>`` does.

        Returns
        -------
        str
            Standard output.

        Raises
        ------
        PgsimError
            What the command failed with.
        """
        command = typed(("pgsim", *words)) + (f" > {quote(path_word(into))}" if into else "")
        self.commands.append(command)
        self._prompt("$ ", command)
        with self._shown(stdout=into is None) as stdout:
            status = self._invoke(list(words))
        if status:
            raise PgsimError(f"{' '.join(command.split())} ended with exit code {status}")
        if into is not None:
            try:
                into.write_text(stdout.getvalue(), encoding="utf-8")
            except OSError as error:
                raise InvalidInputError(f"{into}: cannot be written: {error.strerror or error}") from None
        return stdout.getvalue()

    def psql(self, statement: str) -> None:
        """Type and run a statement in psql; where psql cannot be had, say so and go on."""
        words = ("db", "psql", "--", "-c", statement)
        command = f'pgsim db psql -- -c "\n{statement}"'
        self.commands.append(command)
        self._prompt("$ ", command)
        # psql takes the place of the process that starts it.
        done = subprocess.run(
            [sys.executable, "-m", "pgsim", *words], capture_output=True, text=True, check=False, encoding="utf-8"
        )
        self._write((done.stdout + done.stderr).rstrip())
        if done.returncode:
            self._write("(psql could not be used here; the statement is run by psycopg alone)")

    def python(self, lines: Sequence[str]) -> dict[str, Any]:
        """Type and run lines in a Python interpreter.

        Returns
        -------
        dict
            The interpreter's names.
        """
        interpreter = _Interpreter()
        self._prompt("$ ", "python")
        unfinished = False
        for line in lines:
            self._prompt("... " if unfinished else ">>> ", line)
            with self._shown():
                unfinished = interpreter.push(line)
        return dict(interpreter.locals)

    @contextmanager
    def _shown(self, *, stdout: bool = True) -> Iterator[io.StringIO]:
        """Catch standard output; show all output in its order, also where the command fails half way."""
        shown = io.StringIO()
        caught = _Tee(shown) if stdout else io.StringIO()
        try:
            with redirect_stdout(caught), redirect_stderr(shown):
                yield caught
        finally:
            if text := shown.getvalue().rstrip():
                self._write(text)

    def _prompt(self, prompt: str, text: str) -> None:
        self._write(f"\x1b[1m{prompt}{text}\x1b[0m" if self._colour else prompt + text)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class _Tee(io.StringIO):
    """Keeps what is written, and passes it on."""

    def __init__(self, other: TextIO) -> None:
        super().__init__()
        self._other = other

    def write(self, text: str, /) -> int:
        self._other.write(text)
        return super().write(text)


class _Interpreter(code.InteractiveConsole):
    """An interpreter that hands errors on, so that a person reads one line and Ctrl-C ends it all."""

    def showtraceback(self) -> None:
        raise
