"""What benchmarks of the monitor share."""
