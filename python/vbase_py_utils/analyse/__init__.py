"""What is learned from the fits of many periods."""
