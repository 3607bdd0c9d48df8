"""``python -m gatewright`` is the ``gatewright`` command (what torchrun and accelerate launch can start)."""

from gatewright.cli import main

main()
