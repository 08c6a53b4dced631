"""A cursor over a filter's tokens."""

from __future__ import annotations

from pgsim.errors import InvalidInputError
from pgsim.filters.lexer import Kind, Token, refuse
from pgsim.filters.values import shown


class Reader:
    """Looks at tokens and takes them, one by one.

    Parameters
    ----------
    tokens : list of Token
        The tokens; the last one is the end.
    """

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0

    @property
    def next(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._index]

    def peek(self) -> Token:
        """Return the token after the next one."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self.next
        if token.kind is not Kind.END:
            self._index += 1
        return token

    def accept_word(self, *words: str) -> bool:
        """Go on where the next token is one of the words."""
        found = self.next.is_word(*words)
        if found:
            self.take()
        return found

    def accept_symbol(self, *symbols: str) -> bool:
        """Go on where the next token is one of the symbols."""
        found = self.next.is_symbol(*symbols)
        if found:
            self.take()
        return found

    def expect_word(self, word: str) -> None:
        """Take the word, or refuse what stands there."""
        if not self.accept_word(word):
            raise self.unexpected(word)

    def expect_symbol(self, symbol: str) -> None:
        """Take the symbol, or refuse what stands there."""
        if not self.accept_symbol(symbol):
            raise self.unexpected(shown(symbol))

    def unexpected(self, needed: str) -> InvalidInputError:
        """Make the error that names the next token and what is needed in its place."""
        token = self.next
        what = "the text ends" if token.kind is Kind.END else f"unexpected {shown(token.text)}"
        return refuse(f"{what}; needed: {needed}", token.position)
