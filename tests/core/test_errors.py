"""Exit codes, and the word that was meant."""

from __future__ import annotations

import pytest

from srae_dist.core.errors import ExitCode, SampleError, SraeError, UserError, did_you_mean


def test_exit_codes_are_what_the_documents_promise() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "SOME_FAILED": 1,
        "USER": 2,
        "LOST": 3,
        "STOPPED": 75,
    }
    assert UserError("x").exit_code == 2
    assert SampleError("x").exit_code == 1
    assert issubclass(UserError, SraeError)
    assert issubclass(SampleError, SraeError)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stepz", " Did you mean 'steps'?"),
        ("warm_up", " Did you mean 'warmup'?"),
        ("qqqq", ""),
        ("", ""),
    ],
)
def test_the_nearest_name(name: str, said: str) -> None:
    assert did_you_mean(name, iter(["steps", "warmup", "lr"])) == said
