"""Real daemons under real load: what they hold over time, and what their death leaves. Linux only."""
