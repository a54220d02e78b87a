"""The science: a DICOM file goes in, frozen dataclasses come out.

Nothing here knows of HTTP, queues or storage, and nothing is imported from above this package.
"""
