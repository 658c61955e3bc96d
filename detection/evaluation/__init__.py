"""Evaluation of segmenters against a known truth.

sample_county  pixel IoU, objects found and absent prompts on synthetic lots
"""
