"""``python -m gatewright`` is the ``gatewright`` command (what torchrun can start)."""

from gatewright.cli import main

main()
