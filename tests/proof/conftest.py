"""Tests that ask for ``repetition`` run once, and twenty times with --long."""

import pytest

TIMES = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "repetition" in metafunc.fixturenames:
        times = TIMES if metafunc.config.getoption("--long") else 1
        metafunc.parametrize("repetition", range(times))
