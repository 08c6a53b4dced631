"""Which operating-system user the embedded server runs as, and folders that are that user's alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgsim.errors import ConnectionFailedError

#: System user for the server where pgsim itself runs as root: PostgreSQL refuses to run as root.
SYSTEM_USER: Final = "pgsim"
_INSTEAD: Final = "or pass --database URL to use a server of your own"


@dataclass(frozen=True)
class Account:
    """User and group that the server's programs run as.

    Parameters
    ----------
    uid, gid : int
        User and group.
    switch : bool
        Whether this process is root and has to become that user.
    """

    uid: int
    gid: int
    switch: bool

    def run(
        self, command: Sequence[str | Path], *, text: str | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, and return its exit status and output."""
        with self.popen(command, environ=environ, stdin=subprocess.PIPE) as process:
            output, errors = process.communicate(text)
        return subprocess.CompletedProcess(list(command), process.returncode, output, errors)

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        environ: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start a program as this user, away from the terminal, so that Ctrl-C reaches us and not the server."""
        # PGDATA, PGPORT and the like of the caller's must not leak into the server.
        clean = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ}
        return subprocess.Popen(
            command,
            cwd="/",
            env={**clean, "LC_ALL": "C", **(environ or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            umask=0o077,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def can(self, test: str, path: Path) -> bool:
        """Whether the user passes ``test -r|-x path``; asked of the system, so that ACLs count too."""
        return self.run(["/bin/sh", "-c", f'test -{test} "$1"', "sh", path]).returncode == 0

    def write(self, path: Path, text: str) -> None:
        """Write a file as this user: root must not write through links in a folder that is another user's."""
        done = self.run(["/bin/sh", "-c", 'cat > "$1.new" && mv -f "$1.new" "$1"', "sh", path], text=text)
        if done.returncode != 0:
            raise ConnectionFailedError(f"cannot write {path}: {' '.join(done.stderr.split())}")

    def private_folder(self, path: Path) -> None:
        """Make `path` a folder that only this user may enter, or check that it is one already.

        Raises
        ------
        ConnectionFailedError
            Something else stands there, such as a link or another user's folder.
        """
        try:
            path.mkdir(mode=0o700)
            if self.switch:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except FileExistsError:
            pass
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid or found.st_mode & 0o077:
            raise ConnectionFailedError(
                f"{path} should be a folder of mode 0700 that belongs to user {self.uid}, but is not; "
                f"remove it, set PGSIM_HOME to another folder, {_INSTEAD}"
            )


def find_account(data: Path) -> Account:
    """Account of the server whose data is, or will be, in `data`; root's is made if it is missing."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    if data.exists():
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, switch=True)
    return _system_account()


def _system_account() -> Account:
    import pwd

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _create_system_user()
        try:
            entry = pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise ConnectionFailedError(
                f"PostgreSQL does not run as root, and the system user {SYSTEM_USER!r} could not be created; "
                f"create it, run pgsim as an ordinary user, {_INSTEAD}"
            ) from None
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _create_system_user() -> None:
    for name, options in (
        ("useradd", ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]),
        ("adduser", ["-S", "-D", "-H", "-h", "/nonexistent", "-s", "/bin/false"]),  # busybox
    ):
        if program := shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"):
            subprocess.run([program, *options, SYSTEM_USER], capture_output=True, check=False)
            return


def make_home(home: Path, account: Account) -> None:
    """Create the home folder, private to the account; parents that exist are never changed.

    Raises
    ------
    ConnectionFailedError
        The account cannot reach it, or it cannot be made.
    """
    if any(character in str(home) for character in '"$`\\\n\r'):
        # pg_ctl pastes the path into a shell command.
        raise ConnectionFailedError(f"PGSIM_HOME {str(home)!r} holds a quote, dollar sign, backslash or line break")
    missing: list[Path] = []
    nearest = home
    while not nearest.exists():
        missing.append(nearest)
        nearest = nearest.parent
    if account.switch and not account.can("x", nearest):
        raise ConnectionFailedError(
            f"the server runs as user {account.uid}, not as root, and cannot enter {nearest}; "
            f"set PGSIM_HOME to a folder outside it, {_INSTEAD}"
        )
    try:
        for folder in reversed(missing):
            # Root's home folder may be passed through, so that the server reaches its own folders in it.
            folder.mkdir(mode=0o711 if account.switch else 0o700, exist_ok=True)
            if account.switch:
                folder.chmod(0o711)  # we made it just now; the umask may have taken more
    except OSError as error:
        raise ConnectionFailedError(
            f"cannot create PGSIM_HOME {home}: {error.strerror}; set it to another folder, {_INSTEAD}"
        ) from error
