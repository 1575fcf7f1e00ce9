"""What holds for all tests: where CI runs, a test that skips has failed."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# fixtures of real servers, known to every test; nothing starts before a test asks for it
pytest_plugins = [
    "servers.kafka",
    "servers.twisted_reactor",
    "servers.embedded",
    "servers.processor",
    "servers.peers",
]

STRICT = bool(os.environ.get("CI"))


def _fail_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure that names its reason; an expected failure stays what it is."""
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: no test may skip where CI is set: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_skip(report)
    return report
