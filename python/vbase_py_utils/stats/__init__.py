"""Functions for pandas code; each module here needs the extra ``pandas``."""
