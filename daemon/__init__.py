"""The edges: the daemon, its devices, executors, sinks and doors. Touches the world, decides nothing."""
