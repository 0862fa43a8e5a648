"""Predictions on pictures and videos, streaming, ONNX export."""
