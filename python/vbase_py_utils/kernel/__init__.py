"""The estimator and its inference: NumPy arrays in, frozen records of arrays out."""
