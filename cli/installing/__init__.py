"""Making cnnbo a service of a box or of a user, and taking it away again."""
