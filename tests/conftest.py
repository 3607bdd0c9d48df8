"""One thread a process: the tests are many and small, and other threads would only wait for each other."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
