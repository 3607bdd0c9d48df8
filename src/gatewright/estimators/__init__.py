"""Models to fit and predict with, by scikit-learn's conventions: a table or a text in, an answer out."""

from gatewright.estimators.forecaster import Forecaster
from gatewright.estimators.language_model import LanguageModel
from gatewright.estimators.loading import load
from gatewright.estimators.search import Tuned, tune
from gatewright.estimators.sequence_classifier import SequenceClassifier
from gatewright.estimators.sequence_tagger import SequenceTagger

__all__ = ["Forecaster", "LanguageModel", "SequenceClassifier", "SequenceTagger", "Tuned", "load", "tune"]
