"""Adapters: fitted models in the clothes of other libraries' estimators and formats."""
