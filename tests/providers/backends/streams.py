"""Reading the samples of streams."""


def read_stream(backend, frames):
    """Return the reader of a stream, for its state, and the chunks that it made of the frames."""
    reader = backend.stream_reader()
    chunks = [chunk for frame in frames for chunk in reader.read(frame["data"])]
    return reader, chunks


def joined(chunks, field):
    return "".join(getattr(choice, field) or "" for chunk in chunks for choice in chunk.choices)
