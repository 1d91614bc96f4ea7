"""Property tests here are the same on every run, and compiling is not their fault."""

from hypothesis import settings

settings.register_profile("gym_trade", deadline=None, derandomize=True, database=None)
settings.load_profile("gym_trade")
