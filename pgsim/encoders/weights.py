"""Where a model's weights are: a folder, the hub's cache, or the hub itself."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from pgsim.errors import MissingExtraError, MissingModelError

#: What is taken from the hub: settings, vocabularies and weights, these in one format.
PATTERNS: Final = ("*.json", "*.txt", "*.model", "*.safetensors")
#: Weights of other formats, which the libraries load from a folder that holds no others.
_PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt")
#: Seconds in which the hub must take a connection. The libraries would go on trying for a minute.
_PATIENCE: Final = 0.7
_HUB: Final = "https://huggingface.co"
_BLOCK: Final = 2**22


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder with a model's weights and settings.

    Attributes
    ----------
    folder : Path
        The folder.
    revision : str
        The hub's commit, or ``sha256:`` and a digest of the files.
    """

    folder: Path
    revision: str


def locate(name: str, repository: str | None, marker: str, environ: Mapping[str, str] = os.environ) -> Weights:
    """Find a model's weights, and load them from the hub where they are nowhere else.

    Parameters
    ----------
    name : str
        A folder, or the model's name.
    repository : str or None
        The model's repository on the hub.
    marker : str
        File that such a model's folder holds.
    environ : mapping
        ``PGSIM_MODELS`` names a folder of models; ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and ``HF_ENDPOINT``
        mean what they mean to the hub's own library.

    Raises
    ------
    MissingModelError
        The weights are nowhere; raised within a second, and says where they were looked for.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _own(folder, name, marker)
    looked = [f"the folder {folder}"]
    if models := environ.get("PGSIM_MODELS"):
        folder = Path(models).expanduser() / name
        looked.append(f"the folder {folder} (PGSIM_MODELS)")
        if folder.is_dir():
            return _own(folder, name, marker)
    if repository is None:
        raise _missing(name, looked, None)
    cache = _cache(environ)
    looked.append(f"the hub's cache {cache}")
    found = _cached(cache, repository, marker)
    if found is not None:
        return found
    if environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        looked.append("and not on the hub, as HF_HUB_OFFLINE is set")
    elif not _reachable(environ):
        looked.append(f"and the hub {environ.get('HF_ENDPOINT') or _HUB}, which does not answer")
    else:
        return _download(repository)
    raise _missing(name, looked, repository)


def _missing(name: str, looked: list[str], repository: str | None) -> MissingModelError:
    ways = "name a folder that holds it, or put it into PGSIM_MODELS/" + name
    if repository is not None:
        ways += f", or on a machine with a network run: hf download {repository}"
    return MissingModelError(f'model "{name}" is not on this machine; looked in {", ".join(looked)}; {ways}')


def _own(folder: Path, name: str, marker: str) -> Weights:
    if not (folder / marker).is_file():
        raise MissingModelError(f'model "{name}": the folder {folder} holds no {marker}; it is not of that library')
    digest = hashlib.sha256()
    for path in _deciding(folder):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return Weights(folder, f"sha256:{digest.hexdigest()[:40]}")


def _deciding(folder: Path) -> list[Path]:
    """List the files that decide a model's vectors."""
    found = {path for pattern in PATTERNS for path in folder.rglob(pattern)}
    complete = {path.parent for path in found if path.suffix == ".safetensors"}
    found |= {path for path in folder.rglob("*") if path.suffix in _PICKLED and path.parent not in complete}
    return sorted(path for path in found if path.is_file())


def _cache(environ: Mapping[str, str]) -> Path:
    if cache := environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _cached(cache: Path, repository: str, marker: str) -> Weights | None:
    """Find a whole snapshot in the hub's cache, without its library, which takes a second to import."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    snapshot = folder / "snapshots" / revision
    # A download that was cut off leaves links to nothing, or no weights.
    whole = (snapshot / marker).is_file() and any(path.is_file() for path in snapshot.rglob("*.safetensors"))
    return Weights(snapshot, revision) if whole else None


def _reachable(environ: Mapping[str, str]) -> bool:
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    answers: list[bool] = []

    def connect() -> None:
        try:
            place = urlsplit(proxy or environ.get("HF_ENDPOINT") or _HUB)
            port = place.port or (443 if place.scheme == "https" else 80)
            socket.create_connection((place.hostname or "", port), timeout=_PATIENCE).close()
        except (OSError, ValueError):
            # Nobody there, or no address.
            return
        answers.append(True)

    # Looking up a name has no time limit of its own.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return bool(answers)


def _download(repository: str) -> Weights:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise MissingExtraError(
            "models come from the hub by huggingface-hub; install: pip install 'pgsim[models]'"
        ) from None
    try:
        # It shows a progress bar of its own, on standard error.
        folder = Path(snapshot_download(repository, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, OSError) as error:
        raise MissingModelError(f"{repository} cannot be loaded from the hub: {error}") from error
    return Weights(folder, folder.name)
