"""Failing assertions of the suite show their values, as those of a test file do."""

import pytest

pytest.register_assert_rewrite("perdure.testing.storage_suite")
