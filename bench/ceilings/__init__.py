"""What the machine allows without us: the figures that ratios stand against."""
