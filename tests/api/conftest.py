"""A node without any account in its settings, for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.api.client import Api
from tests.node_process import NodeProcess

NODE_ADDRESS = "example.node"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("api") / "node", "") as process:
        yield process


@pytest.fixture
def api(node: NodeProcess) -> Iterator[Api]:
    client = Api(node)
    yield client
    client.close()
