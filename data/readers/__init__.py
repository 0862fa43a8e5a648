"""Readers of the raw trees and of HandOccNet's annotation JSON."""
