"""What schemathesis has to be told of this API; loaded by it, not by pytest."""

import schemathesis


@schemathesis.serializer("application/dicom")
def serialize_dicom(context, value):
    """Send a raw body as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.serializer("application/zip")
def serialize_zip(context, value):
    """Send an archive as it is."""
    return value if isinstance(value, bytes) else str(value).encode()
