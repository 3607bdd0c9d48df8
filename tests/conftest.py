"""One thread a process: the tests are many and small, and other threads would only wait for each other."""

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"

# CI tries the same examples each time, so that a change is never judged by luck; everywhere else, new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
