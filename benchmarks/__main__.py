"""``make bench``: every benchmark, after the tests of what it times."""

import platform
import subprocess
import sys

import torch

from benchmarks import loop_overhead

#: Nothing is timed that does not compute the right thing.
TESTS = ["tests/test_lstm.py", "tests/test_fit.py", "-k", "not two_processes"]

if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "pytest", "-q", "--no-header", *TESTS], check=True)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    loop_overhead.main()
