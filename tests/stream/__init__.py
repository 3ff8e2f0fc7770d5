"""Tests of the Python API of payments."""
