"""Data that is not ours: tests that need it skip and say which; where CI is set they fail."""

from __future__ import annotations

import os

import pytest

from emnas_gym.errors import DatasetError
from predictors.external import data_file


def needs(*relative: str) -> None:
    """Skips the test unless the data folder has these files; where CI is set it fails."""
    for name in relative:
        try:
            data_file(name)
        except DatasetError as error:
            if os.environ.get("CI"):
                pytest.fail(f"CI needs the data folder: {error}")
            pytest.skip(str(error))


EMNAS = ("emnas/dataset_3.csv", "emnas/variable_length.csv", "emnas/dataset_7.csv")
TOKENS = tuple(name.replace(".csv", "_tokens.csv") for name in EMNAS)
MLPERF = "tinyml/mlperf_tiny_v1.1.csv"
