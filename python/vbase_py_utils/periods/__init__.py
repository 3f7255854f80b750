"""The order of time: which periods sort as time does, and how text becomes such periods."""
