"""The LSTM as torch modules: drop-in layers, their record, and the conversion of whole models."""

from gatewright.nn import init
from gatewright.nn.cell import LSTMCell
from gatewright.nn.convert import convert
from gatewright.nn.lstm import LSTM
from gatewright.nn.record import LayerRecord, Record

__all__ = ["LSTM", "LSTMCell", "LayerRecord", "Record", "convert", "init"]
