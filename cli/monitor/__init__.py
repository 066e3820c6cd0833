"""`cnnbo watch`: a pure fold of messages (state) and its rendering."""
