"""What a test sees does not depend on the tests that ran before it in the same process."""

import os

import pytest
from prefect.settings import get_current_settings


@pytest.mark.usefixtures("prefect_server")
def test_a_test_with_the_server_of_all_tests() -> None:
    os.environ["PREFECT_LEFT_BEHIND"] = "1"
    assert get_current_settings().api.url is not None


def test_a_later_test_sees_neither_that_server_nor_its_variables() -> None:
    assert get_current_settings().api.url is None
    assert "PREFECT_LEFT_BEHIND" not in os.environ
