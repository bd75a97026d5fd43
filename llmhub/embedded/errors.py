class EmbeddedError(Exception):
    """What a person must know or do before the local stack can run; the message is all they are shown."""
