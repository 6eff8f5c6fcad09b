"""What the core's tests share: the harness explains its failed assertions as tests do."""

import pytest

pytest.register_assert_rewrite("tests.core.harness")
