"""One HTML file that shows a fit."""
