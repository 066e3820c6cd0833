"""`cnnbo report`: a study or a comparison as a page, figures, tables and a bundle that others can replay.

Everything here reads: a report never starts a trial and never writes into a state folder.
"""
