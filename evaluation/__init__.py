"""Metrics, evaluation protocols, exports and the report page."""
