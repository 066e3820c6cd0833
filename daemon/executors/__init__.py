"""How a trial is run on a device."""
