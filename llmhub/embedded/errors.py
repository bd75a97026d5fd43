class EmbeddedError(Exception):
    """The local stack cannot run; the message tells the user what to do."""
