"""The pipeline as one readable function: a DICOM file in, an Analysis out."""
