"""The 2016 network for street view house numbers (SVHN), its data and its training."""
