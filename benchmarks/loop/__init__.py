"""The proof of the learning loop on sam3-nano: corrected lots become weights that need less of it.

`python -m benchmarks.loop --what shifted --out DIR` trains and judges one run after another, on a
GPU where there is one; each result is kept, so the same command goes on where it stopped.
docs/loop.md has the results.
"""
