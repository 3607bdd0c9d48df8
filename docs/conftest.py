"""What the documentation site alone needs is tested where it is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("griffe") else ["griffe_examples.py"]
