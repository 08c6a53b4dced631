from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsim.config import ROOT_HOME, Config, default_home


def test_environment_is_read() -> None:
    config = Config.load({"PGSIM_DATABASE_URL": "postgresql://h/d", "PGSIM_HOME": "/srv/p", "PGSIM_WORKSPACE": "birds"})
    assert config == Config("postgresql://h/d", Path("/srv/p"), "birds")


def test_arguments_win() -> None:
    environ = {"PGSIM_DATABASE_URL": "postgresql://h/d", "PGSIM_WORKSPACE": "birds"}
    config = Config.load(environ, database_url="postgresql://other/d", workspace="fish")
    assert (config.database_url, config.workspace) == ("postgresql://other/d", "fish")


def test_empty_is_unset() -> None:
    config = Config.load({"PGSIM_DATABASE_URL": "", "PGSIM_HOME": "", "PGSIM_WORKSPACE": ""})
    assert config == Config(None, default_home(), "default")


def test_home_is_absolute_and_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config.load({"PGSIM_HOME": "~/x"}).home == tmp_path / "x"
    assert Config.load({"PGSIM_HOME": "x"}).home == Path.cwd() / "x"


def test_default_home_by_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_home({}) == tmp_path / ".local" / "share" / "pgsim"
    assert default_home({"XDG_DATA_HOME": "/data"}) == Path("/data/pgsim")
    assert default_home({"XDG_DATA_HOME": "relative"}) == tmp_path / ".local" / "share" / "pgsim"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home({"XDG_DATA_HOME": "/data"}) == ROOT_HOME


def test_repr_hides_the_password() -> None:
    assert "secret" not in repr(Config.load({"PGSIM_DATABASE_URL": "postgresql://u:secret@h/d"}))
