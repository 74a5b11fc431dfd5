"""The try-it client of `gatepost dev`; never part of `gatepost serve`."""
