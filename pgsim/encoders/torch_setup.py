"""What both libraries need of torch: whether it is there, threads, a device, and a mend."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pgsim.errors import MissingExtraError

if TYPE_CHECKING:
    import torch

#: Operators that torchvision describes when it is imported; a torch without its compiled part does not know them.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []


def require(module: str, extra: str) -> None:
    """Check that a library is installed, without importing it.

    Raises
    ------
    MissingExtraError
        It is not; the message says what to install.
    """
    if find_spec(module) is None or find_spec("torch") is None:
        raise MissingExtraError(f"this model needs {module.replace('_', '-')}; install: pip install 'pgsim[{extra}]'")


def prepare(threads: int | None) -> torch.device:
    """Set torch up, and choose the device: a GPU where there is one."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    _mend_torchvision()
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _mend_torchvision() -> None:
    """Let torchvision be imported beside a torch that lacks its compiled operators, which no encoder calls.

    A torchvision built for CUDA fails beside a CPU's torch with ``operator torchvision::nms does not exist``, and takes
    both libraries down with it.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(operator)
    _kept.append(library)  # the operators go when it does


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
