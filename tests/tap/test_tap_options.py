"""The options of `twistd eson`: everything wrong is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.python import usage

from eson.tap import Options

GOOD = "participant: unix.ar\nagent: fnaa.unix.ar\nnamespaces: [{name: flows.unix.ar}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "eson.yaml"
    path.write_text(GOOD)
    return path


def test_twistd_lists_it_and_finds_its_options() -> None:
    (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "eson"]
    assert maker.module == "eson.tap"
    assert maker.options is Options


def test_the_option_goes_before_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESON_CONFIG", "/nowhere")
    options = Options()
    options.parseOptions(["--config", str(file)])
    assert options.config.agent == "fnaa.unix.ar"
    monkeypatch.setenv("ESON_CONFIG", str(file))
    options = Options()
    options.parseOptions([])
    assert options.config.agent == "fnaa.unix.ar"


def test_faults_end_it_with_status_1(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "log: {level: loud, colour: red}\n")
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--config", str(file)])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"{file}:4"] * 2


def test_check_ends_it_with_status_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--check", "--config", str(file)])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{file}: no faults; agent fnaa.unix.ar of unix.ar\n"


def test_words_that_are_no_option_are_refused(file: Path) -> None:
    with pytest.raises(usage.UsageError):
        Options().parseOptions(["--config", str(file), "more"])


def test_it_knows_what_twistd_was_told(file: Path) -> None:
    class Twistd(usage.Options):
        optParameters = [["logfile", "l", None, ""]]
        optFlags = [["nodaemon", "n", ""], ["syslog", "", ""]]
        subCommands = [["eson", None, Options, ""]]

    twistd = Twistd()
    twistd.parseOptions(["-n", "--logfile", "x.log", "eson", "--config", str(file)])
    assert isinstance(twistd.subOptions, Options)
    assert (twistd.subOptions.logfile, twistd.subOptions.nodaemon, twistd.subOptions.syslog) == (
        "x.log",
        True,
        False,
    )
    alone = Options()
    alone.parseOptions(["--config", str(file)])
    assert (alone.logfile, alone.nodaemon, alone.syslog) == ("", False, False)
