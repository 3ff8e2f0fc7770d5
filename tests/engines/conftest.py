"""What all tests of engines share."""

import pytest

# A connection that is accepted while its server closes belongs to nobody in asyncio 3.11: it is
# closed by the collector, which says so in whatever test comes next.
_LEFT_OVER = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "engines" in item.path.parts:
            item.add_marker(_LEFT_OVER)
