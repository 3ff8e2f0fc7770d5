"""What is shown of a node's URL."""

import pytest

from fastilp.engines.node_http import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://chain.example/v3/0123456789abcdef", "https://chain.example"),
        ("https://user:sesame@chain.example:8545/?key=sesame", "https://chain.example:8545"),
        ("https://[::1]:5005/#sesame", "https://[::1]:5005"),
    ],
)
def test_no_secret_of_a_url_is_shown(url: str, shown: str) -> None:
    """`/health` and logs name the node; providers have their customers' keys in the path."""
    assert shown_url(url) == shown
