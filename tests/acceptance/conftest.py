"""Makes whole demos fixtures of these tests."""

from tests.support.demos import default_demo, demos

__all__ = ["default_demo", "demos"]
