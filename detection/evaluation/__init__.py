"""Measuring segmenters against a known truth.

sample_county  IoU and area errors on synthetic lots
"""
