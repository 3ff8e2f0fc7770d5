"""One switch with all its routes for the whole session: it takes seconds to fill."""

import pytest

from bench.micro.subject import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject.make()
