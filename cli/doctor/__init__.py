"""`cnnbo doctor`: what is well on this box, what isn't, and what to do about it.

A check is a function that takes a `Scope` and yields findings; one file per theme. `catalogue` says which checks there
are and in which order they are told, `runner` runs them side by side, each with a deadline. No check changes anything.
"""
