"""Where trials run: NVIDIA devices, CPU slots, and a fake for tests."""
