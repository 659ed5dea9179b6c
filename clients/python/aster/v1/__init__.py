"""Generated from proto/aster/v1 by ``make proto``; never edited by hand."""
